package session_test

import (
	"context"
	"fmt"
	"iter"
	"log"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// carrier is a Transport of two functions.
type carrier struct {
	attest func(ctx context.Context, request []byte) ([]byte, error)
	ask    func(ctx context.Context, request []byte) iter.Seq2[[]byte, error]
}

func (c carrier) Attest(ctx context.Context, request []byte) ([]byte, error) {
	return c.attest(ctx, request)
}

func (c carrier) Ask(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
	return c.ask(ctx, request)
}

func hello(context.Context, *session.Established, session.RequestID) ([]byte, error) {
	return []byte("hello"), nil
}

// A parent with several enclaves gives a sealed request to the one that has its
// key: it notes the names of the keys that they announce. It reads no more than
// that, and is not believed. sessionrpc.Relay does this for a pool.
func ExampleRequestKeyID() {
	enclave, trusted, err := simulated()
	if err != nil {
		log.Fatal(err)
	}
	defer enclave.Close()
	enclaves := map[session.KeyID]inProcess{} // of one client here: without a lock
	parent := carrier{
		attest: func(ctx context.Context, request []byte) ([]byte, error) {
			answer, err := enclave.Attest(ctx, request) // any enclave will do
			if err != nil {
				return nil, err
			}
			id, err := session.AttestationKeyID(answer)
			if err != nil {
				return nil, err
			}
			enclaves[id] = inProcess{enclave}
			return answer, nil
		},
		ask: func(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
			id, err := session.RequestKeyID(request)
			if err != nil {
				return func(yield func([]byte, error) bool) { yield(nil, err) }
			}
			e, known := enclaves[id]
			fmt.Println("the key is known:", known)
			if !known {
				return func(yield func([]byte, error) bool) { yield(nil, session.ErrKeyUnknown) }
			}
			return e.Ask(ctx, request)
		},
	}
	client, err := session.NewClient(session.ClientOptions{Transport: parent, Enclave: trusted})
	if err != nil {
		log.Fatal(err)
	}
	for ask := range 2 {
		for _, err := range client.Ask(context.Background(), hello) {
			if err != nil {
				log.Fatal(err)
			}
		}
		if ask == 0 {
			clear(enclaves) // the parent was restarted: the client attests anew
		}
	}
	// Output:
	// the key is known: true
	// the key is known: false
	// the key is known: true
}

// A transport keeps the connection of an answer that has come to its end, and
// cuts that of another. It takes the segment's word for it: whether an answer
// is whole only the client can tell, who opens it.
func ExampleIsLast() {
	enclave, trusted, err := simulated()
	if err != nil {
		log.Fatal(err)
	}
	defer enclave.Close()
	inner := inProcess{enclave}
	transport := carrier{attest: inner.Attest, ask: func(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			first, last := true, false
			for segment, err := range inner.Ask(ctx, request) {
				last = err == nil && session.IsLast(segment, first)
				first = false
				if !yield(segment, err) {
					break // the client has all of it, or does not want the rest
				}
			}
			fmt.Println("keep the connection:", last)
		}
	}}
	client, err := session.NewClient(session.ClientOptions{Transport: transport, Enclave: trusted})
	if err != nil {
		log.Fatal(err)
	}
	for _, err := range client.Ask(context.Background(), hello) {
		if err != nil {
			log.Fatal(err)
		}
	}
	for message := range client.Ask(context.Background(), hello) {
		fmt.Printf("leaving after %q\n", message)
		break
	}
	// Output:
	// keep the connection: true
	// leaving after "Your"
	// keep the connection: false
}
