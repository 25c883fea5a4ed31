// Package badinput holds a catalogue of bad input to every HTTP endpoint and
// every RPC method of the chatbot and of the local KMS, and no code of its own.
//
// Its test starts the real pieces in one process: the enclave's services behind
// vsockrpc on a unix socket, the parent's front, the client's local server, and
// the KMS. It sends each row of the catalogue over a real connection and checks
//
//   - the status or code, and the machine-readable reason, exactly;
//   - that the body has the form that the endpoint documents;
//   - that the row's canary, which stands in the input, is neither in the answer
//     nor in any log, but where the row says that it is documented;
//   - that a good request is answered afterwards: on the same connection where
//     that goes on, or on a new one where the row says that it ends.
//
// When all rows have run, no goroutine and no descriptor may be left over. What
// was found is docs/bad-input/endpoints.md, which the test holds to; with
// -update it writes that file. Endpoints are found in the source: one without a
// row fails the test.
package badinput
