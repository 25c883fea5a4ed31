// Keyboards, narrow screens, dark mode, and what tools for the blind find.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = createRequire(import.meta.url).resolve("axe-core");

// keyboardOnly does everything without a mouse.
export async function keyboardOnly(user) {
	const { page } = user;
	const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
	await user.isFocused(user.question, "the question");

	// From the top: the order in which things get the focus, each visibly.
	await page.evaluate(() => document.activeElement.blur());
	await page.locator("body").evaluate((body) => {
		body.tabIndex = -1;
		body.focus();
		body.removeAttribute("tabindex");
	});
	const order = [];
	for (let i = 0; i < 10; i++) {
		await press("Tab");
		order.push(await page.evaluate(() => {
			const e = document.activeElement;
			if (e.id !== "question" && getComputedStyle(e).outlineStyle === "none") {
				return `${e.outerHTML} shows no focus`;
			}
			return e.id || e.textContent;
		}));
	}
	assert.deepEqual(order, ["", "trust", "open-settings", "new", "New conversation", "forget-all", "log", "What is my deductible?", "How do I reset my password?", "question"]
		.map((want) => want || "Skip to your question"));

	// The panel opens, closes with Escape, and gives the focus back.
	await page.locator("#trust").focus();
	await press("Enter");
	await user.isFocused(page.locator("#close-panel"), "the panel");
	await press("Escape");
	assert.equal(await page.locator("#panel").isVisible(), false);
	await user.isFocused(page.locator("#trust"), "what opened the panel");

	// The settings: a value, and Enter.
	await press("Tab", "Enter");
	await user.isFocused(page.getByLabel("Most tokens"), "the first setting");
	await page.keyboard.type("55");
	await press("Enter");
	assert.equal(await page.locator("#settings").isVisible(), false);
	await user.isFocused(page.locator("#open-settings"), "what opened the settings");

	// A suggestion, then a question of two lines.
	await page.getByRole("button", { name: "What is my deductible?" }).focus();
	await press("Enter");
	assert.equal(await user.question.inputValue(), "What is my deductible?");
	await user.isFocused(user.question, "the question");
	await press("Control+a");
	await page.keyboard.type("one");
	await press("Shift+Enter");
	await page.keyboard.type("two");
	assert.equal(await user.question.inputValue(), "one\ntwo");
	assert.equal((await user.seen()).asked, null);
	await press("Enter");
	await user.complete();
	const [asked] = (await user.seen()).asked;
	assert.equal(asked.Messages[0].Content, "one\ntwo");
	assert.equal(asked.MaxTokens, 55);

	// From the question back to the answer's buttons.
	await press("Shift+Tab");
	await user.isFocused(user.button("Receipt"), "the receipt");
	await press("Shift+Tab");
	await user.isFocused(user.button("Copy"), "the copy button");

	// An answer is stopped with Escape; forgetting keeps the focus in the page.
	await user.question.focus();
	await page.keyboard.type("forever");
	await press("Enter");
	await user.says(user.bubble, "It begins");
	await press("Escape");
	assert.equal(await user.cancelled(), "forever");
	await page.locator("#forget-all").focus();
	await press("Enter");
	await user.isFocused(user.question, "the question");
}

export async function narrowScreen(user) {
	const { page } = user;
	const fits = async (what) => {
		const [wide, over] = await page.evaluate(() => [document.documentElement.scrollWidth, [...document.querySelectorAll("body *")]
			.filter((e) => e.checkVisibility() && !e.closest("pre, .unseen, .skip") && e.getBoundingClientRect().right > innerWidth + 0.5)
			.map((e) => e.outerHTML.slice(0, 100))]);
		assert.ok(wide <= 360, `${what}: the page is ${wide} pixels wide`);
		assert.deepEqual(over, [], `${what}: beyond the edge`);
		assert.equal(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight), true, `${what}: the page itself scrolls`);
	};
	await fits("welcome");
	await user.askAndWait("long");
	await user.says(user.answer.locator(".meta"), /cut at the limit of tokens/);
	await fits("a long answer");
	await user.ask("busy at first");
	await user.button("Try again").waitFor();
	await fits("an error");

	await page.locator("#trust").click();
	await page.getByText("The fingerprints (PCRs)").click();
	await page.getByText("The 5 certificates").click();
	await fits("the panel");
	assert.equal(await page.locator("#panel").evaluate((e) => e.matches(":modal")), true);
	await page.keyboard.press("Escape");
	await user.isFocused(page.locator("#trust"), "what opened the panel");

	await user.button("Settings").click();
	await fits("the settings");
	await page.keyboard.press("Escape");

	assert.equal(await page.locator("#list").isVisible(), false);
	await user.button("Conversations").click();
	await fits("the list");
	await user.button("New conversation").click();
	assert.equal(await page.locator("#list").isVisible(), false);
	await user.button("Conversations").click();
	await page.keyboard.press("Escape");
	assert.equal(await page.locator("#list").isVisible(), false);

	// Turned to landscape on a wide screen, what is open stays usable.
	await page.locator("#trust").click();
	await page.setViewportSize({ width: 1280, height: 700 });
	await page.waitForFunction(() => document.querySelector("#panel[open]:not(:modal)"));
	assert.equal(await page.locator("#list").isVisible(), true);
}
narrowScreen.context = { viewport: { width: 360, height: 640 }, hasTouch: true };

export async function darkMode(user) {
	const { page } = user;
	const colours = () => page.evaluate(() => {
		const style = getComputedStyle(document.body);
		return [style.backgroundColor, style.color].map((c) => c.match(/\d+/g).slice(0, 3).reduce((sum, v) => sum + Number(v), 0));
	});
	const [paper, ink] = await colours();
	assert.ok(paper < 150 && ink > 600, `dark: paper ${paper}, ink ${ink}`);
	await fullOfThings(user);
	await expectAccessible(user, "dark");
	await page.emulateMedia({ colorScheme: "light" });
	const [lightPaper, lightInk] = await colours();
	assert.ok(lightPaper > 600 && lightInk < 150, `light: paper ${lightPaper}, ink ${lightInk}`);
	await expectAccessible(user, "light");
}
darkMode.context = { colorScheme: "dark" };

export async function accessible(user) {
	await expectAccessible(user, "welcome");
	await fullOfThings(user);
	await expectAccessible(user, "simulated");
	await user.page.emulateMedia({ colorScheme: "dark" });
	await expectAccessible(user, "simulated, dark");
	await user.enclaveBecomes("mismatch");
	await user.button("Verify again now").click();
	await user.says(user.page.locator("#trust"), "Not trusted");
	await expectAccessible(user, "untrusted, dark");
	await user.page.emulateMedia({ colorScheme: "light" });
	await expectAccessible(user, "untrusted");
	await user.button("Settings").click();
	await expectAccessible(user, "settings");
}

// fullOfThings shows a bit of everything.
async function fullOfThings(user) {
	await user.askAndWait("hostile");
	await user.ask("busy at first");
	await user.button("Try again").waitFor();
	await user.page.locator("#trust:not([data-level=checking])").waitFor();
	await user.page.locator("#trust").click();
	await user.page.getByText("The fingerprints (PCRs)").click();
	await user.page.getByText("The 5 certificates").click();
}

// expectAccessible has axe look for what WCAG 2.2 forbids: contrast, names,
// roles, labels. Its script is put in by the debugger, not by the page.
async function expectAccessible(user, what) {
	await user.page.evaluate(await readFile(axe, "utf8"));
	const found = await user.page.evaluate(async () => {
		const { violations } = await globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] });
		return violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 160)}: ${n.failureSummary}`));
	});
	assert.deepEqual(found, [], what);
}

export async function reducedMotion(user) {
	await user.ask("forever");
	await user.says(user.bubble, "It begins");
	const running = () => user.page.evaluate(() => document.getAnimations().length);
	assert.equal(await running(), 0, "nothing moves");
	await user.page.emulateMedia({ reducedMotion: "no-preference" });
	assert.ok(await running() > 0, "the test sees what moves");
}
reducedMotion.context = { reducedMotion: "reduce" };
