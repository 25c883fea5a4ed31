package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const hopKMS = "KMS"

// onEgress makes a fault of the enclave's way to KMS.
func onEgress(f fault) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		p.egress.set(f)
		if f.refuse || f.take != nil {
			p.egress.cut()
		}
		return p.egress.mend(f), nil
	}
}

// kmsWayCells are faults of the way to KMS, where TLS is end to end.
func kmsWayCells() []cell {
	none := of(wire.ReasonKMSUnavailable)
	late := of(wire.ReasonDeadline)
	return []cell{
		{hop: hopKMS, fault: "cut", how: "connections end, new ones are closed at once", must: none, may: late, inject: onEgress(fault{refuse: true})},
		{hop: hopKMS, fault: "stalled", how: "nothing passes in either direction", must: late, may: none, inject: onEgress(fault{stall: [2]bool{true, true}})},
		{hop: hopKMS, fault: "slow", how: "2 KiB every 5 ms", may: append(late, none...), hold: 2 * time.Second, inject: onEgress(fault{every: 5 * time.Millisecond, most: 2048})},
		{hop: hopKMS, fault: "garbage to KMS", how: "64 random bytes before every third piece", must: none, may: late, inject: onEgress(fault{mangle: inserted(onward)})},
		{hop: hopKMS, fault: "garbage from KMS", how: "64 random bytes before every third piece", must: none, may: late, inject: onEgress(fault{mangle: inserted(back)})},
		{
			hop: hopKMS, fault: "frozen", how: "SIGSTOP of the KMS process, then SIGCONT: clients' own calls as well",
			must: late, may: append(none, ownKMS), inject: freeze("kms"),
		},
		{
			hop: hopKMS, fault: "certificate expired", how: "who answers has a certificate of yesterday, of a trusted authority",
			must: none, may: late, inject: answering(-time.Hour, errorAnswer(500, "")),
		},
		{
			hop: hopKMS, fault: "certificate of a stranger", how: "who answers has another authority's certificate",
			must: none, may: late, inject: func(_ context.Context, p *pipeline) (func() error, error) {
				strangers, err := newStrangers()
				if err != nil {
					return nil, err
				}
				cert, err := strangers.server(time.Now().Add(time.Hour))
				if err != nil {
					return nil, err
				}
				p.egress.set(fault{take: strangers.serve(cert, errorAnswer(500, "")).take})
				p.egress.cut()
				return func() error {
					strangers.close()
					return p.egress.healCut()
				}, nil
			},
		},
		{hop: hopKMS, fault: "killed and restarted", skip: "the local KMS keeps its keys in memory only, as its documentation says; AWS's does not lose them. To the pipeline its end is the cell “cut”."},
	}
}

// answering has somebody answer in KMS's place, with a certificate that the
// enclave trusts and that ends in valid from now.
func answering(valid time.Duration, h http.HandlerFunc) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		cert, err := p.fakes.server(time.Now().Add(valid))
		if err != nil {
			return nil, err
		}
		p.egress.set(fault{take: p.fakes.serve(cert, h).take})
		p.egress.cut()
		return func() error {
			p.fakes.close()
			return p.egress.healCut()
		}, nil
	}
}

// errorAnswer is KMS's answer for an error, in the AWS JSON 1.1 protocol.
func errorAnswer(status int, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": "chaos"})
	}
}

// text answers with a body, in which KEY is the key that the client signed for.
func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			KeyID string `json:"KeyId"`
		}
		json.NewDecoder(r.Body).Decode(&asked) // what is no JSON names no key
		fmt.Fprint(w, strings.ReplaceAll(body, "KEY", asked.KeyID))
	}
}

// kmsAnswerCells are answers of KMS, or of who took its place with a trusted
// certificate.
func kmsAnswerCells() []cell {
	none := of(wire.ReasonKMSUnavailable)
	late := of(wire.ReasonDeadline)
	var all []cell
	for _, x := range []struct {
		fault, how string
		must       []class
		h          http.HandlerFunc
	}{
		{"throttles", "400 ThrottlingException", none, errorAnswer(400, "ThrottlingException")},
		{"fails", "500 KMSInternalException", none, errorAnswer(500, "KMSInternalException")},
		{"unavailable", "503 without a body", none, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"key disabled", "400 DisabledException", none, errorAnswer(400, "DisabledException")},
		{"says that the key is another", "400 IncorrectKeyException", of(wire.ReasonCiphertext), errorAnswer(400, "IncorrectKeyException")},
		{"says that the token has expired", "400 ExpiredTokenException", of(wire.ReasonCredentials), errorAnswer(400, "ExpiredTokenException")},
		{"never answers", "the request is read, and no more", late, func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // or else the context does not end with the connection
			<-r.Context().Done()
		}},
		{"answers without JSON", "200 with a page", none, text("<html>")},
		{"answers without end", "200 with spaces until the connection ends", none, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
					return
				}
			}
		}},
		{"redirects", "307 to elsewhere", none, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://192.0.2.1/", http.StatusTemporaryRedirect)
		}},
		{"answers in clear", "Plaintext in place of CiphertextForRecipient", none, text(`{"KeyId":"KEY","Plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`)},
		{"forges the recipient's ciphertext", "CiphertextForRecipient of 255 zero bytes", none, text(`{"KeyId":"KEY","CiphertextForRecipient":"` + strings.Repeat("AAAA", 85) + `"}`)},
		{"answers for another key", "the KeyId of the answer is another's", of(wire.ReasonCiphertext), text(`{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/x","CiphertextForRecipient":"AAAA"}`)},
	} {
		all = append(all, cell{
			hop: hopKMS, fault: x.fault, how: x.how, must: x.must, may: append(append(late, none...), of(wire.ReasonCiphertext)...),
			inject: answering(time.Hour, x.h),
		})
	}
	return all
}

// kmsKeyCells are about keys, policies and credentials at the real local KMS.
func kmsKeyCells() []cell {
	return []cell{
		{
			hop: hopKMS, fault: "key policy denies", how: "PutKeyPolicy with another PCR0, then with the right one",
			must: of(wire.ReasonKMSDenied), inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				other := maps.Clone(p.image)
				other[0] = slices.Clone(other[0])
				other[0][0] ^= 1
				return func() error { return p.cluster.SetKeyPolicy(ctx, p.image) }, p.cluster.SetKeyPolicy(ctx, other)
			},
		},
		{
			hop: hopKMS, fault: "credentials expire mid-request", how: "in one process: valid for the client's call, expired for the enclave's",
			must: of(wire.ReasonCredentials), may: []class{ownKMS}, inside: func(_ context.Context, in *inside) (func() error, error) {
				expired := func(next func()) {
					in.principal(time.Now().Add(-time.Minute))
					defer in.principal(time.Time{})
					next()
				}
				in.aroundKMS.Store(&expired)
				return func() error {
					in.aroundKMS.Store(nil)
					return in.principal(time.Time{})
				}, nil
			},
		},
		{
			hop: hopKMS, fault: "clients want another key", how: "half of the clients' configuration names another key's ARN",
			hold: time.Second, inject: injectAnotherKey,
		},
	}
}

// injectAnotherKey has further clients ask under a key that the enclave does not
// take: each must say so, and send nothing.
func injectAnotherKey(ctx context.Context, p *pipeline) (func() error, error) {
	problems := make(chan error, 1)
	var clients []*chat.Client
	for range 8 {
		c, err := p.client(func(o *chat.Options) { o.Sign.KeyID += "0" })
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	heal := others(ctx, len(clients), func(ctx context.Context, i int) {
		err := exact.Receive(clients[i].Ask(ctx, exact.Question(exact.Names[i])), exact.Answer(exact.Names[i]), nil)
		if ctx.Err() == nil && (err == nil || classify(err) != anotherKey) {
			select {
			case problems <- fmt.Errorf("a client with another key: %w", err):
			default:
			}
		}
	})
	return func() error {
		heal()
		select {
		case err := <-problems:
			return err
		default:
			return nil
		}
	}, nil
}
