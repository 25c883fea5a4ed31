package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// declaredReasons are the constants of reason.go.
func declaredReasons(t *testing.T) map[string]Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Reason{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if typ, named := specType(spec, ok); named && typ == "Reason" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all[spec.Names[0].Name] = Reason(value)
		}
		return true
	})
	return all
}

func specType(spec *ast.ValueSpec, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	id, ok := spec.Type.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// Each reason has all that it needs, and no text or word twice.
func TestReasonsAreComplete(t *testing.T) {
	declared := declaredReasons(t)
	if len(declared) != len(reasons) || len(declared) < 15 {
		t.Errorf("%d reasons are declared, %d have a text", len(declared), len(reasons))
	}
	word := regexp.MustCompile(`^[a-z_]{1,64}$`) // as sessions and HTTP carry them
	texts := map[string]Reason{}
	for name, r := range declared {
		info, ok := reasons[r]
		if !ok || info.text == "" || info.status < 400 || info.status > 599 {
			t.Errorf("%s: incomplete: %+v", name, info)
		}
		if !word.MatchString(string(r)) || len(info.text) > 1024 {
			t.Errorf("%s: %q does not travel", name, r)
		}
		if other, ok := texts[r.Error()]; ok {
			t.Errorf("%s and %s have one text", r, other)
		}
		texts[r.Error()] = r
		if r.Error() != info.text || r.HTTPStatus() != info.status || ParseReason(string(r)) != r {
			t.Errorf("%s: %q, %d, %s", name, r.Error(), r.HTTPStatus(), ParseReason(string(r)))
		}
		if !errors.Is(fmt.Errorf("asking: %w", r), r) {
			t.Errorf("%s: errors.Is does not find it", name)
		}
	}
}

// Statuses are seen by proxies and clients of the HTTP form: what can be tried
// again is told from what cannot.
func TestReasonStatuses(t *testing.T) {
	for r, want := range map[Reason]int{
		ReasonBadRequest: 400, ReasonTooLarge: 413, ReasonOverloaded: 429, ReasonRateLimited: 429, ReasonUnavailable: 503,
		ReasonParent: 503, ReasonNotReady: 503, ReasonNSM: 503, ReasonCertificate: 502, ReasonDeadline: 504, ReasonKMSDenied: 403, ReasonCredentials: 403,
		ReasonKMSUnavailable: 502, ReasonKeyUnknown: 409, ReasonReplayed: 409, ReasonPromptTooLong: 413, ReasonInternal: 500,
	} {
		if got := r.HTTPStatus(); got != want {
			t.Errorf("%s: %d, want %d", r, got, want)
		}
	}
}

// What a peer says is never passed on as a reason.
func TestParseReason(t *testing.T) {
	for _, s := range []string{"", "text from a peer", "Internal", "kms_access_denied ", "bad_request\n"} {
		if r := ParseReason(s); r != ReasonInternal {
			t.Errorf("%q: %q", s, r)
		}
	}
	unknown := Reason("canary")
	if unknown.Error() != ReasonInternal.Error() || unknown.HTTPStatus() != 500 {
		t.Errorf("an unknown one: %q, %d", unknown.Error(), unknown.HTTPStatus())
	}
}

func TestRequestContext(t *testing.T) {
	var id session.RequestID
	id[0] = 0x0a
	a := RequestContext(id.String())
	if len(a) != 3 || a["app"] != "nitroseal-chatbot" || a["direction"] != "request" || a["request"] != "0a000000000000000000000000000000" {
		t.Errorf("%v", a)
	}
}
