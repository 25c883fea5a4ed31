package validate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Linux's numbers of the address families that the parent and nitro-cli use.
var families = map[string]uint64{"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_VSOCK": 40}

// The profile refuses what it does not name, lets sockets of vsock through, and
// none of families that nobody uses.
func TestSeccompProfile(t *testing.T) {
	var p struct {
		DefaultAction   string
		DefaultErrnoRet int
		Architectures   []string
		Syscalls        []struct {
			Comment string
			Names   []string
			Action  string
			Args    []struct {
				Index, Value uint64
				Op           string
			}
		}
	}
	d := json.NewDecoder(strings.NewReader(read(t, deploy+"/k8s/node/seccomp-vsock.json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrnoRet != 1 {
		t.Errorf("what is not named: %s %d", p.DefaultAction, p.DefaultErrnoRet)
	}
	var sockets []uint64
	for _, rule := range p.Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" {
			t.Errorf("%s: %s", rule.Comment, rule.Action)
		}
		if slices.Contains(rule.Names, "socketcall") {
			t.Error("socketcall hides the address family")
		}
		for _, bad := range strings.Fields("bpf init_module finit_module kexec_load mount umount2 ptrace reboot swapon unshare setns pivot_root perf_event_open") {
			if slices.Contains(rule.Names, bad) {
				t.Errorf("%s is allowed", bad)
			}
		}
		if !slices.Contains(rule.Names, "socket") {
			continue
		}
		if len(rule.Args) != 1 || rule.Args[0].Index != 0 || rule.Args[0].Op != "SCMP_CMP_EQ" || families[rule.Comment] != rule.Args[0].Value {
			t.Errorf("sockets of %s: %+v", rule.Comment, rule.Args)
			continue
		}
		sockets = append(sockets, rule.Args[0].Value)
	}
	if len(sockets) != len(families) {
		t.Errorf("sockets of %v", sockets)
	}
}
