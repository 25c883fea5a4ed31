package validate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"sigs.k8s.io/yaml"
)

// identityPolicy is a policy of IAM as far as ours go.
type identityPolicy struct {
	Version   string
	Statement []struct {
		Sid       string
		Effect    string
		Principal map[string]string
		Action    list
		Resource  string
		Condition map[string]map[string]string
	}
}

// list is a string or a list of such.
type list []string

// UnmarshalJSON takes both.
func (l *list) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]string)(l))
	}
	*l = list{""}
	return json.Unmarshal(data, &(*l)[0])
}

func parsePolicy(t *testing.T, path string) (p identityPolicy) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(read(t, path)))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if p.Version != "2012-10-17" || len(p.Statement) == 0 || d.More() {
		t.Errorf("%s: %+v", path, p)
	}
	return p
}

// What a role may do is listed, and decrypting needs an attestation.
func TestIdentityPolicies(t *testing.T) {
	files := find(t, func(path string) bool { return strings.Contains(path, "/iam/") && strings.HasSuffix(path, ".json") })
	uses := list{"kms:Encrypt", "kms:Decrypt"}
	for _, path := range files {
		trust := strings.HasSuffix(path, "-trust.json")
		for _, s := range parsePolicy(t, path).Statement {
			if s.Effect != "Allow" || (len(s.Principal) > 0) != trust {
				t.Errorf("%s: %+v", path, s)
			}
			for _, a := range s.Action {
				switch {
				case trust && a == "sts:AssumeRole":
				case trust, strings.Contains(a, "*"), !strings.HasPrefix(a, "kms:"):
					t.Errorf("%s: %s allows %s", path, s.Sid, a)
				case slices.Contains(uses, a) && s.Condition["StringEquals"]["kms:EncryptionContext:direction"] != "request":
					t.Errorf("%s: %s without the direction", path, a)
				case a == "kms:Decrypt" && s.Condition["Null"]["kms:RecipientAttestation:ImageSha384"] != "false":
					t.Errorf("%s: %s without an attestation", path, a)
				case a == "kms:CreateGrant":
					t.Errorf("%s: grants go around the key policy", path)
				}
			}
			if !trust && s.Resource == "*" && !slices.Equal(s.Action, list{"kms:CreateKey"}) {
				t.Errorf("%s: %s is for all resources", path, s.Sid)
			}
			for _, p := range s.Principal {
				if p == "*" {
					t.Errorf("%s: everybody", path)
				}
			}
		}
	}
}

// The administrator of admin-policy.json may do no more than the key policy that
// the program makes lets one, and neither policy lets anybody use the key.
func TestKeyPolicy(t *testing.T) {
	pcr := func(b byte) attest.PCR { return bytes.Repeat([]byte{b}, 48) }
	build := func(name string, b byte) attest.Measurement {
		return attest.Measurement{Name: name, PCRs: attest.PCRs{0: pcr(b), 1: pcr(b + 1), 2: pcr(b + 2)}}
	}
	const client, admin = "arn:aws:iam::111122223333:role/chatbot-client", "arn:aws:iam::111122223333:role/key-admin"
	rollOut := []attest.Measurement{build("old", 1), build("new", 11)}
	data, err := keypolicy.Spec{
		Admins: []string{admin}, Clients: []string{client}, Measurements: rollOut, Delegated: true, SealedResponses: true,
	}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if found := keypolicy.Lint(data, keypolicy.Options{Measurements: rollOut, Delegating: []string{client}}); len(found) > 0 {
		t.Errorf("%v", found)
	}
	if found := keypolicy.Lint(data, keypolicy.Options{Measurements: rollOut[1:], Delegating: []string{client}}); len(found) == 0 {
		t.Error("after the roll-out nothing is said about the old build")
	}
	var made struct{ Statement []struct{ Action list } }
	if err := json.Unmarshal(data, &made); err != nil {
		t.Fatal(err)
	}
	for _, s := range parsePolicy(t, deploy+"/iam/admin-policy.json").Statement {
		for _, a := range s.Action {
			if a != "kms:CreateKey" && !slices.Contains(made.Statement[0].Action, a) {
				t.Errorf("the key policy does not let administrators %s", a)
			}
		}
	}
}

// userData is cloud-init's, as far as ours goes.
type userData struct {
	PackageUpdate bool     `json:"package_update"`
	Packages      []string `json:"packages"`
	WriteFiles    []struct {
		Path        string `json:"path"`
		Permissions string `json:"permissions"`
		Defer       bool   `json:"defer"`
		Content     string `json:"content"`
	} `json:"write_files"`
	Run          [][]string `json:"runcmd"`
	FinalMessage string     `json:"final_message"`
}

type allocator struct {
	MemoryMiB int `json:"memory_mib"`
	CPUCount  int `json:"cpu_count"`
}

func parseAllocator(t *testing.T, text string) (a allocator) {
	t.Helper()
	// The allocator's own parser takes nothing before the line of dashes.
	if !strings.HasPrefix(text, "---\n") {
		t.Errorf("allocator.yaml does not begin with three dashes: %q", text)
	}
	if err := yaml.UnmarshalStrict([]byte(text), &a); err != nil {
		t.Error(err)
	}
	return a
}

func TestUserData(t *testing.T) {
	text := read(t, deploy+"/cloud-init/user-data.yaml")
	if !strings.HasPrefix(text, "#cloud-config\n") || len(text) > 16<<10 {
		t.Errorf("user data of %d bytes begin with %.20q", len(text), text)
	}
	var u userData
	if err := yaml.UnmarshalStrict([]byte(text), &u); err != nil {
		t.Fatal(err)
	}
	want := parseAllocator(t, read(t, deploy+"/allocator.yaml"))
	if want != (allocator{70000, 8}) {
		t.Errorf("allocator.yaml: %+v is not the post's", want)
	}
	if f := u.WriteFiles[0]; f.Path != "/etc/nitro_enclaves/allocator.yaml" || !f.Defer || parseAllocator(t, f.Content) != want {
		t.Errorf("the user data's allocator.yaml: %+v", f)
	}
	env := read(t, deploy+"/systemd/enclave.env")
	if !strings.Contains(env, "\nCPU_COUNT=8\nMEMORY=70000\n") {
		t.Errorf("enclave.env: %q", env)
	}
	for _, command := range u.Run {
		if command[0] != "systemctl" && command[0] != "sysctl" {
			t.Errorf("%q", command)
		}
	}
}
