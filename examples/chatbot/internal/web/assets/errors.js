// What went wrong, in the words of somebody who asks questions. Codes that are
// not here are shown with the server's own message, which is one of fixed
// texts.

export const unfinished = "What you see above is unfinished. Do not rely on it.";

const known = {
	overloaded: ["The enclave is busy", "More questions are waiting than it takes. Try again in a moment."],
	rate_limited: ["Too many questions", "The service lets you ask less often than this. Try again in a minute."],
	not_ready: ["The service is starting", "Try again in a moment."],
	enclave_unavailable: ["The enclave cannot be reached", "It may be starting. Try again in a moment."],
	nsm_unavailable: ["The enclave cannot show what it is", "Its security module does not answer. Try again in a moment."],
	deadline_exceeded: ["No answer in time", "Try again, or ask for a shorter answer in the settings."],
	context_length_exceeded: ["Too long for this model", "Shorten the question, start a new conversation, or turn earlier turns off in the settings."],
	kms_access_denied: ["KMS refused the enclave", "The key’s rules do not allow it to read your question. Tell whoever runs the service."],
	credentials_refused: ["Your credentials were refused", "They are unknown or expired. Renew them and try again."],
	own_credentials_refused: ["Your credentials were refused", "They are unknown or expired. Renew them and try again."],
	own_kms_access_denied: ["KMS refused your credentials", "They do not allow you to seal a question. Tell whoever runs the service."],
	answer_not_authentic: ["This is not the enclave’s answer", "What came back was changed on its way, or is from somebody else. Do not rely on it."],
	receipt_refused: ["The receipt proves nothing", "It does not belong to this answer. Do not rely on either."],
	answer_incomplete: ["The answer was cut off", unfinished],
	cut_off: ["The answer was cut off", unfinished],
	client_gone: ["No connection to your own program", "“chatbot client” on this computer does not answer. Is it still running?"],
};

// explain returns title and advice for an AskError.
export function explain(error) {
	if (error.code.startsWith("attestation_") || ["key_not_attested", "key_refused", "model_refused"].includes(error.code)) {
		return ["The enclave is not trusted", "Your question was not sent. The panel says why."];
	}
	return known[error.code] ?? ["No answer", error.message];
}
