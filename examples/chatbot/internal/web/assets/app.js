// The page: which conversation is shown, what may be sent, and what opens and
// closes.

import { Enclave, dangers } from "./attestation.js";
import { Conversation } from "./conversation.js";
import { button, byId, element, icon, setIcon, speak } from "./dom.js";
import { render } from "./panel.js";
import * as settings from "./settings.js";

const enclave = new Enclave();
const panel = byId("panel");
const question = byId("question");
const log = byId("log");
const wide = matchMedia("(min-width: 1180px)"); // as in panel.css
const listBeside = matchMedia("(min-width: 800px)"); // as in base.css

let conversations = [];
let current = null;
let sending = false;
let atEnd = true; // of the conversation, by scrolling
let suggestions = [];

// --- the enclave

const levels = {
	checking: ["wait", "Checking the enclave"],
	private: ["shield", "Enclave verified"],
	unprotected: ["alert", "Not protected"],
	untrusted: ["alert", "Not trusted"],
};

function showEnclave() {
	const [drawing, text] = levels[enclave.level];
	const trust = byId("trust");
	trust.dataset.level = enclave.level;
	setIcon(trust.querySelector("svg"), drawing);
	byId("trust-text").textContent = text;
	keepingFocus(byId("panel-body"), byId("panel-body"), () => render(byId("panel-body"), enclave, () => enclave.verify()));
	keepingFocus(byId("banner"), question, showBanner);
	showWelcome();
	showComposer();
}

// keepingFocus redraws a part of the page. If that takes the focused element
// away, the focus goes to otherwise.
function keepingFocus(part, otherwise, redraw) {
	const had = part.contains(document.activeElement);
	redraw();
	if (had && !part.contains(document.activeElement)) {
		otherwise.focus();
	}
}

function showBanner() {
	if (enclave.level === "checking") {
		return; // what was known stays until more is known
	}
	const details = button("Details", "info", openPanel);
	let parts = [];
	if (enclave.level === "untrusted") {
		parts = [banner("untrusted", "Nothing is sent.", enclave.failure.message, button("Verify again", "retry", () => enclave.verify()), details)];
	} else if (enclave.level === "unprotected") {
		parts = [banner("unprotected", enclave.report.simulated ? "SIMULATED: nothing is protected." : "Nothing is protected.",
			`${dangers(enclave.report).join(" ")} Do not enter real or personal data.`, details)];
	}
	byId("banner").replaceChildren(...parts);
}

function banner(level, title, text, ...buttons) {
	return element("div", { className: "banner", "data-level": level }, icon("alert"),
		element("p", {}, element("strong", {}, title), ` ${text}`), element("div", { className: "buttons" }, ...buttons));
}

// maySend verifies anew where the key has expired, and says why if no question
// may be sent.
async function maySend() {
	if (enclave.expired) {
		await enclave.verify();
	}
	if (enclave.blocked) {
		speak(enclave.blocked);
	}
	return enclave.blocked === "";
}

// --- the panel: beside the conversation where there is room, above it elsewhere

function openPanel() {
	if (panel.open) {
		return;
	}
	if (wide.matches) {
		panel.show();
	} else {
		panel.showModal();
	}
	byId("trust").setAttribute("aria-expanded", "true");
	byId("close-panel").focus();
}

panel.addEventListener("close", () => {
	byId("trust").setAttribute("aria-expanded", "false");
	if (document.activeElement === document.body || panel.contains(document.activeElement)) {
		byId("trust").focus();
	}
});
byId("close-panel").addEventListener("click", () => panel.close());
byId("trust").addEventListener("click", () => (panel.open ? panel.close() : openPanel()));
wide.addEventListener("change", () => {
	if (panel.open) {
		panel.close();
		openPanel();
	}
});
listBeside.addEventListener("change", () => byId("list").hidePopover());

// --- conversations

function begin() {
	if (current?.empty) {
		select(current);
		return;
	}
	const made = new Conversation();
	made.addEventListener("change", () => {
		showList();
		showComposer();
	});
	made.addEventListener("grow", () => followEnd(made));
	made.addEventListener("failed", () => enclave.verify());
	made.addEventListener("retry", (event) => {
		event.detail.settings = settings.read();
		if (enclave.blocked || event.detail.settings === null) {
			speak(enclave.blocked);
			event.preventDefault();
		}
	});
	conversations.unshift(made);
	select(made);
}

function select(conversation) {
	current = conversation;
	log.replaceChildren(conversation.view);
	showWelcome();
	atEnd = true;
	followEnd(conversation);
	showList();
	showComposer();
	question.focus();
}

function forget(conversation) {
	conversation.forget();
	conversations = conversations.filter((c) => c !== conversation);
	if (conversation === current) {
		current = null;
		if (conversations.length > 0) {
			select(conversations[0]);
		} else {
			begin();
		}
	}
	showList();
}

function forgetAll() {
	conversations.forEach((c) => c.forget());
	conversations = [];
	current = null;
	question.value = "";
	settings.forget();
	begin();
	fitQuestion();
	speak("Everything is forgotten.");
}

function showList() {
	keepingFocus(byId("conversations"), question, drawList);
}

function drawList() {
	byId("conversations").replaceChildren(...conversations.map((c) => {
		const open = element("button", { type: "button", className: "title", dir: "auto", onclick: () => pick(c) }, c.title);
		if (c === current) {
			open.setAttribute("aria-current", "true");
		}
		const drop = element("button", { type: "button", className: "plain", "aria-label": `Forget “${c.title}”`, onclick: () => forget(c) }, icon("forget"));
		return element("li", { className: c.waiting ? "waiting" : "" }, open, c.empty ? null : drop);
	}));
}

function pick(conversation) {
	closeList();
	select(conversation);
}

function closeList() {
	if (byId("list").matches(":popover-open")) {
		byId("list").hidePopover();
	}
}

const welcomes = {
	checking: ["wait", "One moment", "The enclave is being asked to prove what software it runs."],
	private: ["shield", "Ask in confidence", "Your question is sealed on this computer and opened only inside an enclave whose software was verified. The answer comes back the same way."],
	unprotected: ["alert", "For trying out only", "All works as with a real enclave, but for the protection: treat what you type here as public."],
	untrusted: ["alert", "No questions for now", "The enclave did not prove that it is the one that you trust, so nothing leaves this computer."],
};

// showWelcome says what to expect, in a conversation that has not begun.
function showWelcome() {
	if (current.empty) {
		keepingFocus(log, question, () => log.replaceChildren(welcome()));
	}
}

function welcome() {
	const [drawing, title, text] = welcomes[enclave.level];
	const offered = enclave.blocked ? [] : suggestions;
	return element("div", { className: "welcome", "data-level": enclave.level }, icon(drawing), element("h2", {}, title), element("p", {}, text),
		element("div", { className: "suggestions" }, ...offered.map((suggestion) => element("button", {
			type: "button", onclick: () => {
				question.value = suggestion;
				fitQuestion();
				question.focus();
			},
		}, suggestion))));
}

// followEnd keeps the end of an answer in sight, unless the user scrolled up.
log.addEventListener("scroll", () => {
	atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}, { passive: true });

function followEnd(conversation) {
	if (conversation === current && atEnd) {
		log.scrollTop = log.scrollHeight;
	}
}

new ResizeObserver(() => followEnd(current)).observe(log);

// --- the question

function showComposer() {
	const waiting = current?.waiting === true;
	byId("send").hidden = waiting;
	byId("stop").hidden = !waiting;
	byId("send").disabled = enclave.blocked !== "" || question.value.trim() === "";
	byId("composer").dataset.blocked = String(enclave.level === "untrusted");
	byId("hint").textContent = enclave.blocked || (waiting ? "Escape stops the answer." : "Enter sends. Shift+Enter makes a new line.");
}

function fitQuestion() {
	question.style.height = "auto";
	question.style.height = `${question.scrollHeight}px`;
	showComposer();
}

async function send() {
	const conversation = current;
	const text = question.value.trim();
	if (text === "" || sending || conversation.waiting) {
		return;
	}
	sending = true;
	const chosen = await maySend() ? settings.read() : null;
	sending = false;
	if (chosen === null || conversation !== current) {
		return;
	}
	if (conversation.empty) {
		log.replaceChildren(conversation.view);
	}
	question.value = "";
	atEnd = true;
	conversation.ask(text, chosen);
	fitQuestion();
	question.focus();
}

byId("composer").addEventListener("submit", (event) => {
	event.preventDefault();
	send();
});
question.addEventListener("input", fitQuestion);
question.addEventListener("keydown", (event) => {
	// isComposing: Enter then ends the input of a character, not the question.
	if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
		event.preventDefault();
		send();
	}
});
byId("stop").addEventListener("click", () => {
	current.stop();
	question.focus();
});
byId("new").addEventListener("click", () => {
	closeList();
	begin();
});
byId("forget-all").addEventListener("click", () => {
	closeList();
	forgetAll();
});

// Escape closes what is open, which the browser does for popovers and modal
// dialogs, and otherwise stops the answer.
document.addEventListener("keydown", (event) => {
	if (event.key !== "Escape" || event.defaultPrevented || document.querySelector(":popover-open, dialog:modal")) {
		return;
	}
	if (panel.open && panel.contains(document.activeElement)) {
		panel.close();
	} else if (current.waiting) {
		current.stop();
		question.focus();
	} else if (panel.open) {
		panel.close();
	}
});

// --- the beginning

enclave.addEventListener("change", showEnclave);
begin();
enclave.verify();
fetch("/api/about", { cache: "no-store", redirect: "error" }).then((r) => r.json()).then((about) => {
	suggestions = about.suggestions;
	settings.prepare(about);
	showWelcome();
}, () => {}); // the enclave's verification says that the program is gone
