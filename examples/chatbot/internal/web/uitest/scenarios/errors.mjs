// Answers that fail.

import assert from "node:assert/strict";

export async function retryAfterError(user) {
	await user.ask("busy at first");
	const error = user.answer.getByRole("alert");
	await user.says(error, /^The enclave is busy\n/);
	assert.equal(await user.bubble.isVisible(), false, "there is nothing to show");
	await user.button("Try again").click();
	await user.complete();
	await user.says(user.bubble, "The answer to: busy at first");
	assert.equal(await error.count(), 0);
	assert.equal(await user.page.locator(".turn").count(), 2);
}

export async function breaksOff(user) {
	await user.ask("breaks off");
	await user.says(user.bubble, "Take two of");
	await user.release();
	await user.says(user.answer.getByRole("alert"), /^The enclave cannot be reached\n+What you see above is unfinished\./);
	assert.match(await user.bubble.getAttribute("class"), /unfinished/);
	assert.equal(await user.bubble.getAttribute("aria-busy"), "false");
	assert.equal(await user.button("Copy").count(), 0, "an unfinished answer is not offered for use");
	await user.button("Try again").click();
	await user.complete();
	await user.says(user.bubble, "The answer to: breaks off");
	assert.doesNotMatch(await user.bubble.getAttribute("class"), /unfinished/);
}

// The program ends in the middle of an answer.
export async function clientIsGone(user) {
	await user.page.route("**/v1/chat/completions", (route) => route.fulfill({
		contentType: "text/event-stream",
		body: `data: {"choices":[{"index":0,"delta":{"content":"Take two"},"finish_reason":null}]}\n\n`,
	}));
	await user.ask("hello");
	await user.says(user.answer.getByRole("alert"), /^The answer was cut off\n+What you see above is unfinished\./);
	await user.says(user.bubble, "Take two");

	await user.page.unroute("**/v1/chat/completions");
	await user.page.route("**/v1/**", (route) => route.abort());
	await user.page.route("**/api/**", (route) => route.abort());
	await user.button("Try again").click();
	await user.says(user.answer.getByRole("alert"), /^No connection to your own program\n/);
	await user.says(user.page.locator("#banner"), /Is “chatbot client” still running\?/);
	assert.equal(await user.button("Send").isDisabled(), true);
}
