package validate

import (
	"net/http/httptest"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/front"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// exposition is what the parent tells Prometheus, with an enclave and a way out.
func exposition(t *testing.T) string {
	t.Helper()
	f := front.New(front.Options{
		Targets: func() []vsockrpc.TargetStats { return []vsockrpc.TargetStats{{Addr: "vsock://16:5000", Healthy: true}} },
		Egress:  []front.Egress{{Listener: "vsock://any:8000", Target: "kms:443", Stats: func() proxy.Stats { return proxy.Stats{} }}},
	})
	w := httptest.NewRecorder()
	f.Admin().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("/metrics: %d", w.Code)
	}
	return "\n" + w.Body.String()
}
