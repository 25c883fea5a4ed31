// Asking the program on this computer for an answer, in the form of OpenAI's
// chat completions, as server-sent events.

const endpoint = "/v1/chat/completions";
const modelsEndpoint = "/v1/models";

// The longest event that is taken, in characters. The file of a receipt has at
// most 16 MiB, and the last event has it in base64.
const maxEvent = 24 << 20;

// AskError says why there is no answer, or only the beginning of one. code is
// a word of the server's or one from here; message is for people.
export class AskError extends Error {
	constructor(code, message) {
		super(message);
		this.code = code;
	}
}

// complete asks and calls onText with each piece of the answer. It returns
// {finish, usage, receipt} of an answer that is complete, and throws an
// AskError otherwise, or an AbortError if signal was aborted.
export async function complete(request, { signal, onText }) {
	const response = await post({ model: await model(signal), ...request }, signal);
	const result = { finish: null, usage: null, receipt: null };
	let done = false;
	for await (const data of events(response.body, signal)) {
		if (data === "[DONE]") {
			done = true;
			break;
		}
		take(parse(data), result, onText);
	}
	if (!done || result.finish === null) {
		throw new AskError("cut_off", "The connection ended before the answer did.");
	}
	return result;
}

// model returns the name that the API has for the one model.
async function model(signal) {
	const response = await call(modelsEndpoint, { signal });
	const id = (await response.json().catch(() => null))?.data?.[0]?.id;
	if (typeof id !== "string") {
		throw new AskError("bad_reply", otherForm);
	}
	return id;
}

const otherForm = "The program on this computer answered in another form than this page reads.";

async function post(request, signal) {
	const response = await call(endpoint, {
		method: "POST",
		headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
		body: JSON.stringify(request),
		signal,
	});
	if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
		await response.body?.cancel();
		throw new AskError("bad_reply", otherForm);
	}
	return response;
}

// call fetches and takes success only.
async function call(url, options) {
	let response;
	try {
		response = await fetch(url, { ...options, cache: "no-store", redirect: "error", referrerPolicy: "no-referrer" });
	} catch (err) {
		throw unreachable(err);
	}
	if (!response.ok) {
		const body = await response.json().catch(() => null);
		throw fromServer(body?.error, `The program on this computer answered with HTTP ${response.status}.`);
	}
	return response;
}

// take adds what one event says to result.
function take(event, result, onText) {
	if (event.error) {
		throw fromServer(event.error, "The answer broke off.");
	}
	const choice = event.choices?.[0];
	if (typeof choice?.delta?.content === "string" && choice.delta.content !== "") {
		onText(choice.delta.content);
	}
	result.finish = choice?.finish_reason ?? result.finish;
	result.usage = event.usage ?? result.usage;
	if (typeof event.nitroseal?.receipt === "string") {
		result.receipt = decode(event.nitroseal.receipt);
	}
}

// decode reads standard base64.
function decode(text) {
	try {
		return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
	} catch {
		throw new AskError("bad_reply", "The receipt of the answer cannot be read.");
	}
}

function parse(data) {
	try {
		const event = JSON.parse(data);
		if (event !== null && typeof event === "object") {
			return event;
		}
	} catch {
		// An event that is not JSON is as bad as one that is no object.
	}
	throw new AskError("bad_reply", "The program on this computer sent something that this page cannot read.");
}

function fromServer(error, otherwise) {
	const code = typeof error?.code === "string" ? error.code : "unknown";
	return new AskError(code, typeof error?.message === "string" ? error.message : otherwise);
}

function unreachable(err) {
	if (err.name === "AbortError") {
		return err;
	}
	return new AskError("client_gone", "The program on this computer does not answer. Is “chatbot client” still running?");
}

// events yields the data of each server-sent event of a body.
async function* events(body, signal) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	let data = [];
	try {
		for (;;) {
			const { value, done } = await reader.read();
			if (done) {
				return;
			}
			const lines = (rest + value).split(/\r\n|\n/);
			rest = lines.pop();
			if (rest.length > maxEvent) {
				throw new AskError("bad_reply", "The program on this computer sent more at once than this page takes.");
			}
			for (const line of lines) {
				if (line === "" && data.length > 0) {
					yield data.join("\n");
					data = [];
				} else if (line.startsWith("data:")) {
					data.push(line.slice(line[5] === " " ? 6 : 5));
				}
			}
		}
	} catch (err) {
		if (signal.aborted) {
			throw signal.reason;
		}
		throw err instanceof AskError ? err : new AskError("cut_off", "The connection ended before the answer did.");
	} finally {
		reader.cancel().catch(() => {});
	}
}
