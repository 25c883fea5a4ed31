// The settings, which are in the form of the popover and nowhere else.

import { byId } from "./dom.js";

byId("settings-form").addEventListener("submit", (event) => {
	event.preventDefault();
	byId("settings").hidePopover();
});

// prepare sets what depends on the program and its model.
export function prepare(about) {
	byId("earlier").defaultChecked = !about.single_turn;
	byId("version").textContent = about.version ? `nitroseal ${about.version}` : "";
}

// forget sets everything back: an instruction may be confidential, too.
export function forget() {
	byId("settings-form").reset();
}

// read returns the settings, or null if one of them is not usable: the popover
// then shows which.
export function read() {
	if (!byId("settings-form").checkValidity()) {
		byId("settings").showPopover();
		byId("settings-form").reportValidity();
		return null;
	}
	return {
		maxTokens: number("max-tokens"),
		temperature: number("temperature"),
		seed: number("seed"),
		system: byId("system").value.trim(),
		earlier: byId("earlier").checked,
		receipts: byId("receipts").checked,
	};
}

const number = (id) => (byId(id).value === "" ? null : byId(id).valueAsNumber);

// request makes what is sent from the settings, the earlier turns and the
// question. Turns are {question, answer}.
export function request(settings, turns, question) {
	const messages = settings.system === "" ? [] : [{ role: "system", content: settings.system }];
	for (const turn of settings.earlier ? turns : []) {
		messages.push({ role: "user", content: turn.question }, { role: "assistant", content: turn.answer });
	}
	messages.push({ role: "user", content: question });
	const made = { messages, stream: true, stream_options: { include_usage: true } };
	if (settings.maxTokens !== null) {
		made.max_completion_tokens = settings.maxTokens;
	}
	if (settings.temperature !== null) {
		made.temperature = settings.temperature;
	}
	if (settings.seed !== null) {
		made.seed = settings.seed;
	}
	if (settings.receipts) {
		made.nitroseal = { receipt: true };
	}
	return made;
}
