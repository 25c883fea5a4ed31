// What is known of the enclave. Questions may be sent only while its level is
// "private" or "unprotected".
//
//	checking     nothing is known yet, or it is being verified again
//	private      it was verified
//	unprotected  it was verified, and is simulated, in debug mode, or any other
//	             would have been taken as well: nothing is protected
//	untrusted    it could not be verified

// The Go side gives up after 30 seconds.
const timeout = 40_000;

export class Enclave extends EventTarget {
	level = "checking";
	report = null;
	failure = null;
	#running = null;

	// blocked says why no question may be sent, or nothing if one may.
	get blocked() {
		switch (this.level) {
		case "checking":
			return "The enclave is being verified.";
		case "untrusted":
			return "Sending is blocked: the enclave is not trusted.";
		}
		return "";
	}

	// expired says that the key that was verified is past its time. The Go
	// side then verifies anew before it seals to another.
	get expired() {
		return this.report !== null && Date.now() >= Date.parse(this.report.key.not_after);
	}

	// verify asks the Go side for its verdict. Several calls at once share one.
	verify() {
		this.#running ??= this.#verify().finally(() => {
			this.#running = null;
		});
		return this.#running;
	}

	async #verify() {
		this.#set("checking", null, null);
		try {
			const response = await fetch("/api/attestation", {
				cache: "no-store", redirect: "error", signal: AbortSignal.timeout(timeout),
			});
			const body = await response.json();
			if (response.ok && body.trusted === true) {
				const open = body.simulated || body.debug || body.any_measurement;
				this.#set(open ? "unprotected" : "private", body, null);
			} else {
				this.#set("untrusted", null, body.error ?? { code: "unverified", message: "The enclave is NOT trusted: it was not verified." });
			}
		} catch {
			this.#set("untrusted", null, {
				code: "client_gone",
				message: "The enclave is NOT trusted: the program on this computer, which verifies it, does not answer. Is “chatbot client” still running?",
			});
		}
	}

	#set(level, report, failure) {
		Object.assign(this, { level, report, failure });
		this.dispatchEvent(new Event("change"));
	}
}

// dangers says what takes the protection away from a verified enclave.
export function dangers(report) {
	const found = [];
	if (report.simulated) {
		found.push("This enclave is simulated: whoever runs that machine can read everything.");
	}
	if (report.debug) {
		found.push("This enclave runs in debug mode: its console can be read from outside.");
	}
	if (report.any_measurement) {
		found.push("Your policy accepts every enclave: nobody checked what software this one runs.");
	}
	return found;
}
