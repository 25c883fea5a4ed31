package validate

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

var overlays = []string{"small", "large"}

// build builds an overlay as "kubectl apply -k" does.
func build(t *testing.T, overlay string) resmap.ResMap {
	t.Helper()
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(deploy, "k8s/overlays", overlay))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// objects are an overlay's, one of each kind.
type objects struct {
	namespace  corev1.Namespace
	account    corev1.ServiceAccount
	config     corev1.ConfigMap
	service    corev1.Service
	deployment appsv1.Deployment
	budget     policyv1.PodDisruptionBudget
	network    networkingv1.NetworkPolicy
	scaler     autoscalingv2.HorizontalPodAutoscaler
}

// decode decodes an overlay into Kubernetes' own types and refuses fields that
// they do not have, and kinds that are not expected.
func decode(t *testing.T, overlay string) *objects {
	t.Helper()
	o := &objects{}
	kinds := map[string]any{
		"v1/Namespace": &o.namespace, "v1/ServiceAccount": &o.account, "v1/ConfigMap": &o.config, "v1/Service": &o.service,
		"apps/v1/Deployment": &o.deployment, "policy/v1/PodDisruptionBudget": &o.budget,
		"networking.k8s.io/v1/NetworkPolicy": &o.network, "autoscaling/v2/HorizontalPodAutoscaler": &o.scaler,
	}
	for _, r := range build(t, overlay).Resources() {
		kind := r.GetApiVersion() + "/" + r.GetKind()
		into, ok := kinds[kind]
		if !ok {
			t.Errorf("%s: %s is not expected, or twice there", overlay, kind)
			continue
		}
		delete(kinds, kind)
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, into); err != nil {
			t.Errorf("%s: %s: %v", overlay, kind, err)
		}
		if r.GetKind() != "Namespace" && r.GetNamespace() != "nitroseal" {
			t.Errorf("%s: %s is in the namespace %q", overlay, kind, r.GetNamespace())
		}
	}
	for kind := range kinds {
		if overlay == "large" || !strings.HasSuffix(kind, "Autoscaler") {
			t.Errorf("%s: there is no %s", overlay, kind)
		}
	}
	return o
}

func TestStrict(t *testing.T) {
	if err := yaml.UnmarshalStrict([]byte("spec: {replicsa: 2}"), &appsv1.Deployment{}); err == nil {
		t.Error("a wrong field is decoded")
	}
}

func TestPods(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			o := decode(t, overlay)
			pod := o.deployment.Spec.Template.Spec
			if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
				t.Fatalf("%d and %d containers", len(pod.InitContainers), len(pod.Containers))
			}
			launcher, parent := pod.InitContainers[0], pod.Containers[0]
			if launcher.RestartPolicy == nil || *launcher.RestartPolicy != corev1.ContainerRestartPolicyAlways {
				t.Error("the launcher is no sidecar: the parent would never start")
			}
			for _, c := range []corev1.Container{launcher, parent} {
				checkContainer(t, c)
			}
			if *pod.AutomountServiceAccountToken || *o.account.AutomountServiceAccountToken || pod.ServiceAccountName != o.account.Name {
				t.Error("the pod has a token of Kubernetes")
			}
			if p := pod.SecurityContext.SeccompProfile; p.Type != corev1.SeccompProfileTypeLocalhost || filepath.Base(*p.LocalhostProfile) != "seccomp-vsock.json" {
				t.Errorf("seccomp profile %+v", p)
			}
			if !*parent.SecurityContext.RunAsNonRoot {
				t.Error("the parent runs as root")
			}
			checkOneANode(t, o)
			checkEnd(t, pod)
			checkMemory(t, o.config.Data["MEMORY"], launcher)
		})
	}
}

func checkContainer(t *testing.T, c corev1.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Privileged != nil ||
		len(s.Capabilities.Add) > 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("%s: security context %+v", c.Name, s)
	}
	if bad := checkDockerfile("FROM " + c.Image + "\nUSER 1\nENTRYPOINT [\"/x\"]"); len(bad) > 0 {
		t.Errorf("%s: %q", c.Name, bad)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: no limit of memory, or no request of CPU, which huge pages need", c.Name)
	}
}

// The selectors that hold pods apart, find them and let them be reached all fit
// their labels.
func checkOneANode(t *testing.T, o *objects) {
	t.Helper()
	pod := o.deployment.Spec.Template
	matches := func(selector map[string]string) bool {
		for k, v := range selector {
			if pod.Labels[k] != v {
				return false
			}
		}
		return len(selector) > 0
	}
	apart := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(apart) != 1 || apart[0].TopologyKey != "kubernetes.io/hostname" || !matches(apart[0].LabelSelector.MatchLabels) {
		t.Errorf("two pods may share a node: %+v", apart)
	}
	if o.budget.Spec.Selector == nil || !matches(o.service.Spec.Selector) || !matches(o.deployment.Spec.Selector.MatchLabels) || !matches(o.budget.Spec.Selector.MatchLabels) {
		t.Error("a selector does not select the pods")
	}
	if o.service.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		t.Error("a question may arrive at another enclave than it is sealed to")
	}
	if s := o.deployment.Spec.Strategy.RollingUpdate; s.MaxSurge.IntValue() != 0 || s.MaxUnavailable.IntValue() != 1 {
		t.Error("a roll-out needs a node more than there are")
	}
	if pod.Spec.NodeSelector["aws-nitro-enclaves-k8s-dp"] != "enabled" {
		t.Error("pods may come to nodes without enclaves")
	}
}

// checkEnd holds the grace period to what must fit into it.
func checkEnd(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	parent := pod.Containers[0]
	const drain = 60
	if !slices.Contains(parent.Args, "-drain=60s") {
		t.Errorf("the parent's arguments %q", parent.Args)
	}
	if need := parent.Lifecycle.PreStop.Sleep.Seconds + drain + 30; *pod.TerminationGracePeriodSeconds < need {
		t.Errorf("a pod has %d s to end and needs %d", *pod.TerminationGracePeriodSeconds, need)
	}
	ports := map[string]int32{}
	for _, p := range parent.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for want, probe := range map[string]*corev1.Probe{"/readyz": parent.ReadinessProbe, "/healthz": parent.LivenessProbe} {
		if g := probe.HTTPGet; g.Path != want || ports[g.Port.StrVal] != 5002 {
			t.Errorf("probe %+v", g)
		}
	}
}

// checkMemory holds the huge pages to the enclave's memory.
func checkMemory(t *testing.T, mebibytes string, launcher corev1.Container) {
	t.Helper()
	limits := launcher.Resources.Limits
	if n := limits["aws.ec2.nitro/nitro_enclaves"]; n.Value() != 1 {
		t.Errorf("%v enclave devices", n)
	}
	pages := int64(0)
	for _, size := range []corev1.ResourceName{"hugepages-1Gi", "hugepages-2Mi"} {
		n := limits[size]
		pages += n.Value()
	}
	want := map[string]int64{"2048": 2048 << 20, "70000": 70000 << 20}[mebibytes]
	if pages != want || want == 0 {
		t.Errorf("%d bytes of huge pages for %s MiB", pages, mebibytes)
	}
}

// The ways in and out are those of the README, and no others.
func TestNetworkPolicy(t *testing.T) {
	for _, overlay := range overlays {
		n := decode(t, overlay).network.Spec
		if len(n.PodSelector.MatchLabels) > 0 || len(n.PolicyTypes) != 2 {
			t.Errorf("%s: %+v", overlay, n)
		}
		for _, e := range n.Egress {
			for _, to := range e.To {
				if to.IPBlock != nil && (to.IPBlock.CIDR == "0.0.0.0/0" || len(e.Ports) != 1 || e.Ports[0].Port.IntValue() != 443) {
					t.Errorf("%s: egress %+v", overlay, to.IPBlock)
				}
			}
			if len(e.To) == 0 || len(e.Ports) == 0 {
				t.Errorf("%s: egress to everywhere: %+v", overlay, e)
			}
		}
		for _, i := range n.Ingress {
			if len(i.From) == 0 && (len(i.Ports) != 1 || i.Ports[0].Port.StrVal != "https") {
				t.Errorf("%s: everybody reaches %+v", overlay, i.Ports)
			}
		}
	}
}

// The autoscaler goes by a metric that the parent has, and the rule of the
// adapter names the same.
func TestScaler(t *testing.T) {
	o := decode(t, "large")
	s := o.scaler.Spec
	name := s.Metrics[0].Pods.Metric.Name
	if !strings.Contains(exposition(t), "\n# TYPE "+name+" gauge\n") {
		t.Errorf("the parent has no gauge %s", name)
	}
	var rule struct {
		Rules struct {
			Custom []struct {
				SeriesQuery, MetricsQuery string
				Resources                 struct {
					Overrides map[string]map[string]string
				}
				Name struct{ Matches, As string }
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, deploy+"/k8s/prometheus-adapter.yaml")), &rule); err != nil {
		t.Fatal(err)
	}
	if r := rule.Rules.Custom[0]; !strings.HasPrefix(r.SeriesQuery, name+"{") || r.Name.As != name {
		t.Errorf("%+v", r)
	}
	if o.deployment.Spec.Replicas != nil {
		t.Error("the deployment says a number of pods, and so does the autoscaler")
	}
	if s.ScaleTargetRef.Name != o.deployment.Name || s.ScaleTargetRef.Kind != "Deployment" || *s.MinReplicas < 2 {
		t.Errorf("%+v", s)
	}
	if v := s.Metrics[0].Pods.Target.AverageValue.Value(); v < 1 || v > 8 {
		t.Errorf("%d in flight a pod: an enclave answers 8 side by side", v)
	}
}
