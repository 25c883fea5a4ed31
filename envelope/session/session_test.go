package session_test

import (
	"errors"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
)

func TestRoundTrip(t *testing.T) {
	for _, kem := range []session.KEM{session.X25519, session.MLKEM768X25519} {
		t.Run(kem.String(), func(t *testing.T) {
			w := newWorld(t, func(o *session.EnclaveOptions) { o.KEM = kem })
			c := w.client(t, nil)
			for _, q := range []string{"hello", "", "again"} {
				if got, err := ask(t, c, q); err != nil || got != q+"!" {
					t.Errorf("%q: %q, %v", q, got, err)
				}
			}
			e, err := c.Establish(t.Context())
			if err != nil || string(e.Config.Info) != "model 1" || e.Config.KEM != kem {
				t.Errorf("%+v, %v", e, err)
			}
			if id, err := e.Config.ID(); err != nil || id != e.KeyID {
				t.Errorf("key id %v, %v; want %v", id, err, e.KeyID)
			}
		})
	}
}

func TestRemoteError(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(_ *session.Request, resp *session.Response) error {
		resp.Send([]byte("part"))
		return resp.Fail(&session.RemoteError{Code: "too_long", Message: "the question is too long"})
	}
	got, err := ask(t, w.client(t, nil), "q")
	remote, ok := errors.AsType[*session.RemoteError](err)
	if got != "part" || !ok || remote.Code != "too_long" || remote.Message != "the question is too long" {
		t.Errorf("%q, %v", got, err)
	}
}
