// One conversation: its turns, and what the page shows of them. It lives in the
// memory of the tab. Forgetting it drops text and receipts alike.

import { AskError, complete } from "./completion.js";
import { button, download, element, icon, speak } from "./dom.js";
import { explain, unfinished } from "./errors.js";
import { show } from "./text.js";
import * as settings from "./settings.js";

const maxTitle = 40;

// Conversation dispatches "change" when it begins or ends to wait for an
// answer, "grow" when it has more to show and "failed" when an answer failed.
export class Conversation extends EventTarget {
	title = "New conversation";
	view = element("div", { className: "turns" });
	#turns = [];
	#abort = null;

	get waiting() {
		return this.#abort !== null;
	}

	get empty() {
		return this.#turns.length === 0;
	}

	// ask adds a turn with question and waits for its answer.
	ask(question, chosen) {
		if (this.empty) {
			const line = question.replace(/\s+/g, " ").trim();
			this.title = line.length > maxTitle ? line.slice(0, maxTitle).trimEnd() + "…" : line;
		}
		const turn = {
			question,
			answer: "",
			usable: false,
			bubble: element("div", { className: "bubble" }),
			foot: element("div", { className: "foot" }),
		};
		const asked = element("div", { className: "bubble", dir: "auto" }, question);
		this.#turns.push(turn);
		this.view.append(
			element("article", { className: "turn asked" }, element("h2", { className: "unseen" }, "You asked"), asked),
			element("article", { className: "turn answered" }, element("h2", { className: "unseen" }, "The answer"), turn.bubble, turn.foot),
		);
		return this.#answer(turn, chosen);
	}

	stop() {
		this.#abort?.abort();
	}

	// forget ends the conversation and drops what it holds.
	forget() {
		this.stop();
		this.#turns = [];
		this.view.replaceChildren();
		this.view.remove();
		this.title = "";
		speak("");
	}

	async #answer(turn, chosen) {
		const abort = new AbortController();
		const clock = { start: performance.now(), first: null };
		this.#abort = abort;
		this.#begin(turn);
		const earlier = this.#turns.slice(0, this.#turns.indexOf(turn)).filter((t) => t.usable);
		const request = settings.request(chosen, earlier, turn.question);
		let finish = () => {};
		try {
			const result = await complete(request, {
				signal: abort.signal,
				onText: (text) => {
					clock.first ??= performance.now();
					turn.answer += text;
					this.#grow(turn);
				},
			});
			finish = () => this.#finished(turn, result, clock);
		} catch (err) {
			finish = abort.signal.aborted ? () => this.#stopped(turn) : () => this.#failed(turn, err);
		}
		if (this.#abort === abort) {
			this.#abort = null;
		}
		if (this.#turns.includes(turn)) { // not forgotten meanwhile
			this.#draw(turn);
			turn.bubble.classList.remove("growing");
			turn.bubble.setAttribute("aria-busy", "false");
			finish();
			this.dispatchEvent(new Event("grow"));
		}
		this.dispatchEvent(new Event("change"));
	}

	#begin(turn) {
		turn.answer = "";
		turn.usable = false;
		turn.bubble.hidden = false;
		turn.bubble.className = "bubble growing";
		turn.bubble.setAttribute("aria-busy", "true");
		turn.bubble.replaceChildren();
		turn.foot.replaceChildren(element("span", { className: "meta" }, "Sealed and sent. Waiting for the enclave…"));
		speak("The enclave is working on an answer.");
		this.dispatchEvent(new Event("change"));
		this.dispatchEvent(new Event("grow"));
	}

	// grow shows the answer so far with the next frame, however many pieces
	// come until then.
	#grow(turn) {
		if (turn.frame) {
			return;
		}
		turn.frame = requestAnimationFrame(() => {
			this.#draw(turn);
			turn.foot.replaceChildren();
			this.dispatchEvent(new Event("grow"));
		});
	}

	#draw(turn) {
		cancelAnimationFrame(turn.frame);
		turn.frame = null;
		show(turn.bubble, turn.answer);
		turn.bubble.hidden = turn.bubble.children.length === 0;
	}

	#finished(turn, { finish, usage, receipt }, clock) {
		turn.usable = turn.answer.trim() !== "";
		const seconds = (at) => ((at - clock.start) / 1000).toLocaleString("en-GB", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
		const facts = [`${seconds(performance.now())} s`];
		if (usage) {
			facts.push(`${count(usage.prompt_tokens)} tokens read, ${count(usage.completion_tokens)} written`);
		}
		if (finish === "length") {
			facts.push("cut at the limit of tokens");
		}
		if (!turn.usable) {
			turn.bubble.hidden = false;
			turn.bubble.append(element("p", { className: "nothing" }, "The model ended its answer without a word."));
		}
		const meta = element("span", { className: "meta" }, facts.join(" · "));
		if (clock.first !== null) {
			meta.title = `First words after ${seconds(clock.first)} s`;
		}
		turn.foot.replaceChildren(meta, this.#copy(turn), ...(receipt ? [saving(receipt)] : []));
		speak(turn.answer);
	}

	#stopped(turn) {
		turn.usable = turn.answer.trim() !== "";
		turn.foot.replaceChildren(element("span", { className: "meta" }, "Stopped by you: unfinished."),
			...(turn.usable ? [this.#copy(turn)] : []), this.#retry(turn, "Ask again"));
		speak("Stopped.");
	}

	#failed(turn, err) {
		const [title, advice] = explain(err instanceof AskError ? err : new AskError("page", "This page failed. Reload it, and tell whoever gave it to you."));
		const lines = turn.answer !== "" && advice !== unfinished ? [unfinished, advice] : [advice];
		turn.bubble.classList.toggle("unfinished", turn.answer !== "");
		const error = element("div", { className: "error", role: "alert" }, icon("alert"),
			element("div", {}, element("strong", {}, title), ...lines.map((line) => element("p", {}, line)), this.#retry(turn, "Try again")));
		turn.foot.replaceChildren(error);
		speak("");
		this.dispatchEvent(new Event("failed"));
	}

	#copy(turn) {
		const copy = button("Copy", "copy", async () => {
			const said = copy.querySelector("span");
			try {
				await navigator.clipboard.writeText(turn.answer.trim());
				said.textContent = "Copied";
			} catch {
				said.textContent = "Not copied";
			}
			speak(said.textContent);
			setTimeout(() => {
				said.textContent = "Copy";
			}, 2000);
		});
		return copy;
	}

	// retry asks the question of a turn once more, with the settings of now.
	// Who listens to "retry" may forbid it.
	#retry(turn, text) {
		return button(text, "retry", () => {
			const event = new CustomEvent("retry", { cancelable: true, detail: {} });
			if (!this.waiting && this.dispatchEvent(event)) {
				this.#answer(turn, event.detail.settings);
			}
		});
	}
}

const count = (n) => Number(n).toLocaleString("en-GB");

// saving makes the button that saves a receipt.
function saving(receipt) {
	const save = button("Receipt", "receipt", () => {
		const now = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
		download(receipt, `nitroseal-receipt-${now}.json`, "application/json");
	});
	save.title = "Saves question and answer, readable, with a proof that this enclave gave this answer";
	return save;
}
