// A user with a browser of their own, and what directs the enclave.

import assert from "node:assert/strict";

// What a scenario waits for comes at once, but for a machine that is slow.
const timeout = 30_000;

export class User {
	#odd = [];

	static async arrive(browser, url, options = {}) {
		const user = new User();
		user.url = url;
		user.context = await browser.newContext({
			viewport: { width: 1280, height: 800 }, colorScheme: "light", locale: "en-GB", timezoneId: "UTC",
			acceptDownloads: true, ...options,
		});
		user.context.setDefaultTimeout(timeout);
		user.page = await user.context.newPage();
		user.#watch();
		await user.page.goto(url + "/");
		await user.page.locator("#trust:not([data-level=checking])").waitFor();
		return user;
	}

	// watch notes what no scenario may cause: errors of the page, breaches of
	// its security policy, and requests to anywhere else.
	#watch() {
		this.page.on("pageerror", (err) => this.#odd.push(`error in the page: ${err.stack}`));
		this.page.on("console", (message) => {
			if (["error", "warning"].includes(message.type()) && !message.text().startsWith("Failed to load resource")) {
				this.#odd.push(`on the console: ${message.text()}`);
			}
		});
		this.page.on("request", (request) => {
			if (!request.url().startsWith(this.url + "/") && !request.url().startsWith(`blob:${this.url}/`)) {
				this.#odd.push(`a request to ${request.url()}`);
			}
		});
	}

	expectNothingOdd() {
		assert.deepEqual(this.#odd, []);
	}

	leave() {
		return this.context.close();
	}

	// --- what directs the enclave

	async #control(method, path) {
		const response = await fetch(`${this.url}/control/${path}`, { method, signal: AbortSignal.timeout(timeout) });
		assert.equal(response.status, 200, path);
		const text = await response.text();
		return text === "" ? null : JSON.parse(text);
	}

	enclaveBecomes(state) {
		return this.#control("POST", "enclave/" + state);
	}

	release() {
		return this.#control("POST", "release");
	}

	cancelled() {
		return this.#control("GET", "cancelled");
	}

	seen() {
		return this.#control("GET", "seen");
	}

	// --- what the user does and sees

	get question() {
		return this.page.getByLabel("Your question");
	}

	async ask(text) {
		await this.question.fill(text);
		await this.page.getByRole("button", { name: "Send" }).click();
	}

	// answer is the last answer's element.
	get answer() {
		return this.page.locator(".answered").last();
	}

	get bubble() {
		return this.answer.locator(".bubble");
	}

	// complete waits for the answer to be there as a whole.
	complete() {
		return this.answer.locator(".meta", { hasText: /^\d+\.\d s/ }).waitFor();
	}

	async askAndWait(text) {
		await this.ask(text);
		await this.complete();
	}

	button(name) {
		return this.page.getByRole("button", { name, exact: true });
	}

	// says waits until a locator's text is, or matches, what is expected.
	async says(locator, expected) {
		const want = typeof expected === "string" ? (text) => text === expected : (text) => expected.test(text);
		await this.#until(async () => want(await locator.innerText()), async () => `it says ${JSON.stringify(await locator.innerText())}, not ${expected}`);
	}

	async isFocused(locator, what) {
		await this.#until(() => locator.evaluate((e) => e === document.activeElement),
			async () => `${what} does not have the focus, but ${await this.page.evaluate(() => document.activeElement.outerHTML.slice(0, 120))}`);
	}

	// until asks again with each frame of the page.
	async #until(holds, otherwise) {
		const end = Date.now() + timeout;
		while (!await holds()) {
			if (Date.now() > end) {
				assert.fail(await otherwise());
			}
			await this.page.evaluate(() => new Promise(requestAnimationFrame));
		}
	}
}
