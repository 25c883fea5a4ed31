package sessionrpc

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// realRelay serves a relay over TLS and HTTP/2, or plain HTTP/1.1, on loopback,
// in front of one enclave. The first 8 bytes of its requests are the key, and
// the next 4 how many segments of 256 bytes the answer has; then it fails if the
// request is longer.
func realRelay(t testing.TB, h2 bool) (srv *httptest.Server, pool *vsockrpc.Pool) {
	addr := "unix://" + t.TempDir() + "/s"
	enclave := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	enclave.HandleStream(MethodAsk, func(_ context.Context, st *vsockrpc.ServerStream) error {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		segment := make([]byte, 256)
		for range binary.BigEndian.Uint32(req[session.KeyIDSize:]) {
			if err := st.Send(segment); err != nil {
				return err
			}
		}
		if len(req) > session.KeyIDSize+4 {
			return vsockrpc.Internal
		}
		return nil
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go enclave.Serve(l)
	t.Cleanup(func() { enclave.Close() })
	if pool, err = vsockrpc.NewPool([]string{addr}, vsockrpc.PoolOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	if _, err := pool.Call(t.Context(), "none", nil); vsockrpc.CodeOf(err) != vsockrpc.Unimplemented {
		t.Fatal(err) // it is connected now
	}
	relay, err := NewRelay(RelayOptions{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	relay.requestKey = firstBytes
	relay.keys.put(session.KeyID([]byte(pinKey("a"))), addr)
	srv = httptest.NewUnstartedServer(relay)
	if h2 {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv, pool
}

// askReal asks for n segments, and then for a failure if more is not empty.
func askReal(t testing.TB, srv *httptest.Server, n int, more string) *http.Response {
	body := string(binary.BigEndian.AppendUint32([]byte(pinKey("a")), uint32(n))) + more
	resp, err := srv.Client().Post(srv.URL+PathAsk, contentTypeRequest, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Over HTTP/2 as over HTTP/1.1: a whole answer ends well, a cut one does not,
// and the connection serves further requests.
func TestRelayHTTPVersions(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		srv, _ := realRelay(t, h2)
		for range 2 {
			resp := askReal(t, srv, 1000, "")
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if len(got) != 260*1000 || err != nil || (resp.ProtoMajor == 2) != h2 {
				t.Errorf("%s: %d bytes, %v", resp.Proto, len(got), err)
			}
			resp = askReal(t, srv, 3, "fail")
			got, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if len(got) != 260*3 || err == nil {
				t.Errorf("%s: %d bytes of an answer that was cut, %v", resp.Proto, len(got), err)
			}
		}
	}
}

// BenchmarkRelay is the time per segment of 256 bytes of a long answer: through
// vsockrpc alone, and through the relay and HTTP on loopback, too. Every segment
// is flushed.
func BenchmarkRelay(b *testing.B) {
	b.Run("vsockrpc", func(b *testing.B) {
		_, pool := realRelay(b, false)
		b.ReportAllocs()
		for b.Loop() {
			st, err := pool.Stream(b.Context(), MethodAsk)
			if err != nil {
				b.Fatal(err)
			}
			st.SendLast(binary.BigEndian.AppendUint32([]byte(pinKey("a")), 1000))
			for err == nil {
				_, err = st.Recv()
			}
			st.Close()
			if err != io.EOF {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/segment")
	})
	for _, h2 := range []bool{false, true} {
		b.Run(map[bool]string{false: "http1", true: "tls-http2"}[h2], func(b *testing.B) {
			srv, _ := realRelay(b, h2)
			b.ReportAllocs()
			for b.Loop() {
				resp := askReal(b, srv, 1000, "")
				n, err := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if n != 260*1000 || err != nil {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/segment")
		})
	}
}
