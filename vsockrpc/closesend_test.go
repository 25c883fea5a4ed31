package vsockrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// A sender that says it is done when its call has just been given up inside a
// message, and before the server has been told, does not break the protocol,
// and with it all other calls: what it says is not sent.
func TestCloseSendOfACallThatIsGivenUp(t *testing.T) {
	inWorld(t, vsocktest.Options{}, ServerOptions{}, faultHandlers, func(w *world) {
		c := w.client(ClientOptions{})
		st, err := c.Stream(w.t.Context(), "ignore")
		if err != nil {
			w.t.Fatal(err)
		}
		defer st.Close()
		if err := st.Send([]byte("the handler reads nothing, so this stops the next one")); err != nil {
			w.t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- st.Send(make([]byte, 2*initialWindow)) }()
		synctest.Wait()
		// The first half of conn.reset.
		e := &Error{Code: Canceled, cause: context.Canceled}
		st.s.end(e)
		if err := <-sent; !errors.Is(err, Canceled) {
			w.t.Errorf("Send: %v", err)
		}
		st.CloseSend()
		synctest.Wait()
		// And the second.
		st.s.conn.remove(st.s)
		st.s.conn.out.put(func(b []byte) []byte { return append32(b, frameReset, st.s.id, uint32(e.Code)) })
		synctest.Wait()
		if _, err := c.Call(w.t.Context(), "echo", nil); err != nil {
			w.t.Errorf("another call: %v", err)
		}
		if n := len(w.net.Links()); n != 1 {
			w.t.Errorf("%d connections: one was broken", n)
		}
		w.nothingIsLeft(c)
		c.Close()
	})
}
