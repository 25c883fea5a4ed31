package sessionrpc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/internal/badinput"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/envelope-session-sessionrpc.md. What the relay says
// to bad requests is the matter of its own tests.
func TestBadInput(t *testing.T) {
	pool, err := vsockrpc.NewPool([]string{"mem://badinput-nobody"}, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	transport := func(input, url string) badinput.Case {
		return badinput.On("NewHTTPTransport", input, badinput.Plain(), func(context.Context) error {
			_, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: url})
			return err
		})
	}
	server, enclave := vsockrpc.NewServer(vsockrpc.ServerOptions{}), new(session.Enclave)
	handler := func(context.Context, *session.Request, *session.Response) error { return nil }
	register := badinput.Panics("sessionrpc: Register needs a server, an enclave and a handler")
	serve := func(input string, req *http.Request, status int) badinput.Case {
		return badinput.Value("Relay.ServeHTTP", input, http.StatusText(status), func() bool {
			relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool})
			if err != nil {
				return false
			}
			w := httptest.NewRecorder()
			relay.ServeHTTP(w, req)
			return w.Code == status
		})
	}
	badinput.Table{
		Package: "envelope/session/sessionrpc",
		Cases: []badinput.Case{
			transport("no URL", ""),
			transport("a URL without a scheme", "parent.example:5001"),
			transport("a URL of a file", "file:///etc/passwd"),
			transport("a URL with a password", "https://u:"+badinput.Canary+"@parent.example"),
			transport("a URL with a newline", "https://parent\n.example"),
			transport("a URL with a query", "https://parent.example?key="+badinput.Canary),
			badinput.On("NewRelay", "zero options", badinput.Plain(), func(context.Context) error {
				_, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{})
				return err
			}),
			badinput.On("NewTransport", "a nil client", badinput.Panics("sessionrpc: NewTransport needs a client"), func(context.Context) error {
				sessionrpc.NewTransport(nil)
				return nil
			}),
			badinput.On("Register", "a nil server", register, func(context.Context) error { sessionrpc.Register(nil, enclave, handler); return nil }),
			badinput.On("Register", "a nil enclave", register, func(context.Context) error { sessionrpc.Register(server, nil, handler); return nil }),
			badinput.On("Register", "a nil handler", register, func(context.Context) error { sessionrpc.Register(server, enclave, nil); return nil }),
			serve("an unknown path", httptest.NewRequest("POST", "/v1/session/other", nil), http.StatusNotFound),
			serve("a GET", httptest.NewRequest("GET", sessionrpc.PathAsk, nil), http.StatusMethodNotAllowed),
		},
		NoInput: []string{"HTTPError.Error"},
	}.Run(t)
}
