// What the page says of the enclave, and what that blocks.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

const panelOf = (user) => user.page.getByRole("dialog", { name: /Why this is private|About this enclave/ });

async function openPanel(user) {
	await user.page.locator("#trust").click();
	await panelOf(user).waitFor();
	return panelOf(user);
}

// states returns what the panel says of registers, by number.
async function registers(panel) {
	const rows = await panel.locator(".pcr").evaluateAll((all) => all.map((e) => [e.querySelector("strong").textContent, e.querySelector(".state").textContent]));
	return Object.fromEntries(rows);
}

export async function panelOfAPrivateEnclave(user) {
	await user.says(user.page.locator("#trust"), "Enclave verified");
	assert.equal(await user.page.locator(".banner").count(), 0);
	const panel = await openPanel(user);
	await panel.getByRole("heading", { name: "Only the enclave can read your questions" }).waitFor();
	assert.equal(await panel.locator(".steps > li[data-holds=true]").count(), 5);
	assert.equal(await panel.locator(".steps > li[data-holds=false]").count(), 0);

	const states = await registers(panel);
	assert.deepEqual([states.PCR0, states.PCR1, states.PCR2, states.PCR3, states.PCR4], ["matches", "matches", "matches", "not checked", "not checked"]);
	await panel.getByText("The fingerprints (PCRs)").click();
	const report = await (await fetch(user.url + "/api/attestation")).json();
	const value = panel.locator(".pcr").first().locator("code");
	assert.equal(await value.isVisible(), true);
	assert.equal(await value.textContent(), report.pcrs[0].found);
	assert.equal(report.pcrs[0].found.length, 96);

	await panel.getByText("The 5 certificates").click();
	const chain = panel.locator(".chain li");
	assert.equal(await chain.count(), 5);
	await user.says(chain.first(), /^CN=aws\.nitro-enclaves[^]*Valid: 28 Oct 2019[^]*[0-9a-f]{64}$/);
	for (const text of [report.model.digest, report.key.id, report.key.suite, report.kms_key, report.document.module_id, "http://127.0.0.1:5001"]) {
		assert.equal(await panel.getByText(text).first().isVisible(), true, text);
	}
	await user.says(panel, /“chatbot”/);

	const [download] = await Promise.all([user.page.waitForEvent("download"), panel.getByRole("link", { name: /Download/ }).click()]);
	assert.equal(download.suggestedFilename(), "nitroseal-attestation.cose");
	assert.equal((await readFile(await download.path())).length, report.document.bytes);
	await panel.getByRole("button", { name: "Close" }).click();
	await user.isFocused(user.page.locator("#trust"), "the button that opened the panel");
}

export async function panelOfASimulatedEnclave(user) {
	const { page } = user;
	await user.says(page.locator("#trust"), "Not protected");
	await user.says(page.getByRole("alert"), /SIMULATED: nothing is protected\.[^]*Do not enter real or personal data/);
	const panel = await openPanel(user);
	await panel.getByRole("heading", { name: "Not protected" }).waitFor();
	await user.says(panel, /AWS did not sign the measurements/);
	assert.deepEqual(await panel.locator(".steps > li").evaluateAll((all) => all.map((e) => e.dataset.holds)), ["false", "false", "true", "false", "false"]);
	assert.equal(await panel.getByText("Why this is private").count(), 0);
	assert.equal(await panel.getByText("Only the enclave can read").count(), 0);
	assert.deepEqual((await registers(panel)).PCR0, "matches");
	await user.says(panel, /one of 2 that you accept/);
	await user.askAndWait("hello"); // one may try it out
}

export async function panelOfADebugEnclave(user) {
	const panel = await openPanel(user);
	await user.says(panel, /debug mode/);
	await user.says(panel, /Your policy accepts every enclave/);
	assert.equal((await registers(panel)).PCR0, "not checked");
	await user.says(user.page.locator("#trust"), "Not protected");
}

export async function mismatchBlocksSending(user) {
	const { page } = user;
	await user.says(page.locator("#trust"), "Not trusted");
	await user.says(page.getByRole("alert"), /^Nothing is sent\. The enclave is NOT trusted: its software is not the software that your policy names\./);
	await expectBlocked(user, "my secret");
	const panel = await openPanel(user);
	assert.deepEqual(await registers(panel), { PCR0: "does not match" });
	await user.says(panel.locator(".pcr"), /Your policy\n[0-9a-f]{96}\nFound\n[0-9a-f]{96}/);
	await panel.getByRole("button", { name: "Close" }).click();

	// The policy, or the enclave, is mended: what was typed can be sent.
	await user.enclaveBecomes("private");
	await page.getByRole("alert").getByRole("button", { name: "Verify again" }).click();
	await user.says(page.locator("#trust"), "Enclave verified");
	assert.equal(await user.question.inputValue(), "my secret");
	await user.button("Send").click();
	await user.complete();
}

export async function unreachableBlocksSending(user) {
	await user.says(user.page.getByRole("alert"), /could not be asked to prove itself/);
	await expectBlocked(user, "my secret");
}

// expectBlocked tries each way of sending.
async function expectBlocked(user, text) {
	const { page } = user;
	await user.question.fill(text);
	assert.equal(await user.button("Send").isDisabled(), true);
	await user.question.press("Enter");
	await user.says(page.locator("#spoken"), "Sending is blocked: the enclave is not trusted.");
	await page.locator("#composer").evaluate((form) => form.requestSubmit());
	await user.says(page.locator("#hint"), "Sending is blocked: the enclave is not trusted.");
	assert.deepEqual((await user.seen()).asked, null, "nothing was asked");
	assert.equal(await user.question.inputValue(), text, "what was typed is still there");
	assert.equal(await page.locator(".turn").count(), 0);
}

export async function enclaveSwappedDuringTheConversation(user) {
	const { page } = user;
	await user.askAndWait("first");
	await user.enclaveBecomes("signature");
	await user.ask("swapped");
	await user.says(user.answer.getByRole("alert"), /^The enclave is not trusted\n+Your question was not sent\./);
	await user.says(page.locator("#trust"), "Not trusted");
	await user.says(page.locator("#banner"), /the signature of its attestation document is wrong/);
	const before = (await user.seen()).asked.length;
	await user.button("Try again").click();
	await user.question.fill("more");
	assert.equal(await user.button("Send").isDisabled(), true);
	assert.equal((await user.seen()).asked.length, before);
}

// The key that was verified has had its time: it is verified anew before a
// question is sent, and nothing is sent if that fails.
export async function keyExpires(user) {
	const { verified } = await user.seen();
	await user.enclaveBecomes("private");
	await user.askAndWait("hello");
	assert.ok((await user.seen()).verified > verified, "it was verified again");

	await user.enclaveBecomes("expired");
	await user.page.reload();
	await user.says(user.page.locator("#trust"), "Enclave verified");
	await user.enclaveBecomes("mismatch");
	await user.ask("not to be sent");
	await user.says(user.page.locator("#trust"), "Not trusted");
	assert.equal(await user.question.inputValue(), "not to be sent");
	assert.equal((await user.seen()).asked.length, 1);
}
