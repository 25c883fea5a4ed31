// Asking, stopping, and what becomes of answers.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

export async function streams(user) {
	const { page } = user;
	assert.equal(await user.button("Send").isDisabled(), true, "there is nothing to send yet");
	await user.ask("two pieces");
	await user.says(user.bubble, "The first piece,");
	assert.equal(await user.bubble.getAttribute("aria-busy"), "true");
	assert.equal(await user.button("Send").isHidden(), true, "one question at a time");
	await user.says(page.locator("#spoken"), "The enclave is working on an answer.");

	await user.release();
	await user.complete();
	await user.says(user.bubble, "The first piece, and the second.");
	await user.says(user.answer.locator(".meta"), /^\d+\.\d s · 12 tokens read, 2 written$/);
	assert.equal(await user.bubble.getAttribute("aria-busy"), "false");
	assert.equal(await page.locator("#spoken").getAttribute("aria-live"), "polite");
	assert.match(await page.locator("#spoken").textContent(), /The first piece, and the second\./);
	assert.equal(await user.question.inputValue(), "");
	await user.says(page.locator(".asked .bubble"), "two pieces");
	await user.isFocused(user.question, "the question");
}

export async function settingsAndEarlierTurns(user) {
	const { page } = user;
	await user.askAndWait("one");
	await user.button("Settings").click();
	await page.getByLabel("Most tokens").fill("77");
	await page.getByLabel("Temperature").fill("0.7");
	await page.getByLabel("Seed").fill("4294967295");
	await page.getByLabel("Instruction").fill("be kind");
	await page.getByLabel("Ask for a receipt").uncheck();
	await user.button("Done").click();
	assert.equal(await page.locator("#settings").isVisible(), false);
	await user.askAndWait("two");
	assert.equal(await user.answer.getByRole("button", { name: "Receipt" }).count(), 0);

	await user.button("Settings").click();
	await page.getByLabel("Send earlier turns").uncheck();
	await user.button("Done").click();
	await user.askAndWait("three");

	const [one, two, three] = (await user.seen()).asked;
	assert.deepEqual(texts(one), ["user: one"]);
	assert.equal(one.Receipt, true);
	assert.deepEqual(texts(two), ["system: be kind", "user: one", "assistant: The answer to: one", "user: two"]);
	assert.deepEqual([two.MaxTokens, two.Temperature, two.Seed, two.Receipt], [77, 0.7, 4294967295, false]);
	assert.deepEqual(texts(three), ["system: be kind", "user: three"]);

	// A setting that cannot be used is shown, and nothing is sent.
	await user.button("Settings").click();
	await page.getByLabel("Temperature").fill("9");
	await page.keyboard.press("Escape");
	await user.ask("four");
	await page.locator("#settings").waitFor();
	assert.equal((await user.seen()).asked.length, 3);
	assert.equal(await user.question.inputValue(), "four");
}

const texts = (question) => question.Messages.map((m) => `${m.Role}: ${m.Content}`);

export async function stopButton(user) {
	await user.ask("forever");
	await user.says(user.bubble, "It begins");
	await user.button("Stop the answer").click();
	assert.equal(await user.cancelled(), "forever", "the enclave's work was stopped");
	await user.says(user.answer.locator(".meta"), "Stopped by you: unfinished.");
	await user.says(user.bubble, "It begins");
	await user.isFocused(user.question, "the question");

	await user.button("Ask again").click();
	await user.release();
	await user.says(user.bubble, "It begins and goes on");
	await user.button("Stop the answer").click();
	assert.equal(await user.cancelled(), "forever");
	assert.equal(await user.page.locator(".turn").count(), 2, "asking again replaces the answer");
}

export async function escapeStops(user) {
	await user.ask("forever");
	await user.says(user.bubble, "It begins");
	// The settings are open: the first Escape is theirs.
	await user.button("Settings").click();
	await user.page.keyboard.press("Escape");
	assert.equal(await user.page.locator("#settings").isVisible(), false);
	assert.equal(await user.button("Stop the answer").isVisible(), true);
	await user.page.keyboard.press("Escape");
	assert.equal(await user.cancelled(), "forever");
	await user.button("Send").waitFor();
}

export async function receiptAndCopy(user) {
	const { page } = user;
	await user.context.grantPermissions(["clipboard-read", "clipboard-write"]);
	await user.askAndWait("two words");
	const [download] = await Promise.all([page.waitForEvent("download"), user.button("Receipt").click()]);
	assert.match(download.suggestedFilename(), /^nitroseal-receipt-\d{8}T\d{6}Z\.json$/);
	const bytes = await readFile(await download.path());
	assert.deepEqual([...bytes], Array.from({ length: 256 }, (_, i) => i));

	await user.button("Copy").click();
	await user.button("Copied").waitFor();
	assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "The answer to: two words");
}

export async function hostileAnswer(user) {
	const { page } = user;
	await user.askAndWait("hostile");
	const shown = await user.bubble.textContent();
	for (const part of [`<img src=x onerror="window.hacked=1">`, "<script>window.hacked=1</script>", "[link](javascript:window.hacked=1)", "<style>body{display:none}</style>", "&amp; &lt;"]) {
		assert.equal(shown.split(part).length, 3, `${part} is shown as it is, as text and as code`);
	}
	const tags = await user.bubble.evaluate((e) => [...e.querySelectorAll("*")].map((c) => c.tagName));
	assert.deepEqual(tags, ["P", "PRE"], "text and code, and no other element");
	await user.ask(`<img src=x onerror="window.hacked=1">`);
	await user.complete();
	assert.equal(await page.locator(".turns img, .turns script, .turns a, #list img, #spoken *").count(), 0);
	assert.equal(await page.evaluate(() => window.hacked), undefined);
}

export async function codeAndLines(user) {
	await user.ask("code");
	await user.says(user.bubble.locator("pre"), /^func f\(\) \{\n\treturn\n\}/);
	await user.release();
	await user.complete();
	assert.equal(await user.bubble.locator("p").first().textContent(), "Two lines\nof text, and\n\na new paragraph:");
	assert.equal(await user.bubble.locator("pre").textContent(), "func f() {\n\treturn\n}");
	assert.equal(await user.bubble.locator("p").last().textContent(), "The end.");
}

export async function silence(user) {
	await user.askAndWait("silence");
	await user.says(user.bubble, "The model ended its answer without a word.");
	assert.equal(await user.button("Receipt").count(), 1);
	await user.askAndWait("next");
	assert.deepEqual(texts((await user.seen()).asked[1]), ["user: next"], "a turn without an answer is not sent along");
}

export async function conversationsAndForgetting(user) {
	const { page } = user;
	const list = page.getByRole("navigation", { name: "Conversations" });
	await user.askAndWait("alpha secret");
	await user.button("New conversation").click();
	await page.getByRole("heading", { name: "Ask in confidence" }).waitFor();
	await user.ask("forever");
	await user.says(user.bubble, "It begins");

	// The other conversation can be read and used meanwhile.
	await list.getByRole("button", { name: "alpha secret", exact: true }).click();
	await user.says(user.bubble, "The answer to: alpha secret");
	await user.askAndWait("beta secret");
	assert.deepEqual(texts((await user.seen()).asked[2]), ["user: alpha secret", "assistant: The answer to: alpha secret", "user: beta secret"]);

	// Forgetting a conversation stops its answer, and leaves nothing.
	await list.getByRole("button", { name: "Forget “forever”" }).click();
	assert.equal(await user.cancelled(), "forever");
	await user.says(user.bubble, "The answer to: beta secret");
	await user.button("Settings").click();
	await page.getByLabel("Instruction").fill("a secret");
	await user.button("Done").click();
	await user.question.fill("gamma secret");
	await user.button("Forget everything now").click();
	await page.getByRole("heading", { name: "Ask in confidence" }).waitFor();
	assert.equal(await user.question.inputValue(), "");
	const left = await page.evaluate(() => document.documentElement.outerHTML + document.documentElement.textContent);
	assert.doesNotMatch(left, /secret|forever|It begins/);
	assert.equal(await page.locator("#system").inputValue(), "");

	// Nothing was kept where it would outlive the tab.
	await user.askAndWait("delta secret");
	const kept = await page.evaluate(async () => ({
		local: localStorage.length, session: sessionStorage.length, cookies: document.cookie,
		databases: (await indexedDB.databases()).length, caches: (await caches.keys()).length,
		title: document.title, address: location.href, history: history.state,
	}));
	assert.deepEqual(kept, {
		local: 0, session: 0, cookies: "", databases: 0, caches: 0,
		title: "nitroseal: private assistant", address: user.url + "/", history: null,
	});
	await page.reload();
	await page.getByRole("heading", { name: "Ask in confidence" }).waitFor();
	assert.doesNotMatch(await page.locator("body").innerText(), /secret/);
}
