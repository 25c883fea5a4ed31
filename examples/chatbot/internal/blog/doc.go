// Package blog is the chatbot's compatibility mode: the client of the AWS blog
// post on LLM inference in Nitro Enclaves works against it unchanged. The mode
// is insecure, as the protocol is, and off unless -insecure-blog-mode is given
// to the parent and to the enclave.
//
//	client ── POST / {"access_key_id","secret_access_key","token","region","ciphertext"} ──▶ parent
//	            └ ciphertext: KMS(question), no encryption context
//	parent ── the same bytes, vsockrpc unary Method ──▶ enclave
//	client ◀─ {"EncryptedData": "<base64>"} ── parent ◀─ the same bytes ── enclave
//	            └ KMS({"Results": "<text>"}), no encryption context
//
// # What the mode exposes
//
// Use it to try an old client, with a KMS key and a role of their own. Nothing
// in this package can mend the following, because the protocol does not let it.
//
//   - The parent reads the user's AWS credentials, and so does everybody on the
//     way to it while HTTP is in clear. Whoever has them may do at AWS what the
//     user may do.
//   - With these credentials the parent opens questions and answers by itself.
//     The client decrypts answers without an attestation, as the same principal
//     under the same key, so no key policy can tell it from the parent: see
//     KeyPolicy. What is left of the attestation is that another enclave image
//     is refused.
//   - The client does not verify the enclave. It takes any answer that is
//     encrypted under the key, also one that the parent wrote.
//   - Ciphertexts have no encryption context. The parent may repeat them, swap
//     them between users, and give an answer back as a question.
//   - Sizes and times show how long questions and answers are.
//
// # What is mended
//
// Messages are framed, so they may be longer than 4,096 bytes. The enclave
// decrypts by attestation. The prompt does not count towards the tokens of the
// answer. Requests run side by side, with deadlines, and a failure of KMS is
// that request's alone. Neither credentials nor content are logged, or told in
// errors. The enclave answers for one region and under one key, whatever the
// request says.
//
// # Failures
//
// A request that fails gets {"error": "<text>"}, with a text of a fixed list.
// That of a refused decryption is the original's, and is a reply of the
// enclave's like any other, so its HTTP status is 200 as there. All others have
// a status that says what they are.
package blog
