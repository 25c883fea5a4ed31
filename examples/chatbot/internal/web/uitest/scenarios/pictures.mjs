// Pictures of the page, for people to look at.

import process from "node:process";

export async function pictures(user) {
	const { page } = user;
	const folder = process.env.NITROSEAL_SCREENSHOTS;
	const take = (name) => page.screenshot({ path: `${folder}/${name}.png`, animations: "disabled" });
	const size = (width, height) => page.setViewportSize({ width, height });
	const become = async (state, level) => {
		await user.enclaveBecomes(state);
		await page.reload();
		await page.locator(`#trust[data-level=${level}]`).waitFor();
	};
	const talk = async () => {
		await user.askAndWait("What is my deductible?");
		await user.askAndWait("Does it count for prescriptions, too?");
	};

	await take("welcome");
	await talk();
	await take("wide-light");
	await page.locator("#trust").click();
	await take("panel-private");
	await page.getByText("The fingerprints (PCRs)").click();
	await page.getByText("The 5 certificates").click();
	await take("panel-details");
	await page.emulateMedia({ colorScheme: "dark" });
	await take("wide-dark-panel");
	await page.locator("#panel-body").evaluate((e) => { e.scrollTop = 900; });
	await take("panel-scrolled-dark");
	await page.keyboard.press("Escape");
	await user.ask("two pieces");
	await user.says(user.bubble, "The first piece,");
	await take("streaming-dark");
	await user.release();
	await user.complete();
	await user.askAndWait("hostile");
	await take("code-dark");
	await user.button("Settings").click();
	await take("settings-dark");

	await page.emulateMedia({ colorScheme: "light" });
	await become("simulated", "unprotected");
	await talk();
	await page.locator("#trust").click();
	await take("simulated");
	await page.keyboard.press("Escape");
	await user.ask("busy at first");
	await user.button("Try again").waitFor();
	await user.ask("breaks off");
	await user.release();
	await user.button("Try again").nth(1).waitFor();
	await take("errors");
	await user.button("Settings").click();
	await take("settings-light");
	await page.keyboard.press("Escape");

	await size(360, 640);
	await take("narrow");
	await page.locator("#trust").click();
	await take("narrow-panel");
	await page.keyboard.press("Escape");
	await user.button("Conversations").click();
	await take("narrow-list");
	await page.keyboard.press("Escape");
	await user.button("Settings").click();
	await take("narrow-settings");
	await page.keyboard.press("Escape");

	await become("mismatch", "untrusted");
	await user.question.fill("What is my deductible?");
	await take("narrow-untrusted");
	await size(1280, 800);
	await page.locator("#trust").click();
	await take("untrusted");
	await page.emulateMedia({ colorScheme: "dark" });
	await take("untrusted-dark");
	await become("private", "private");
	await take("welcome-dark");
	await size(900, 700);
	await talk();
	await take("middle");
}
