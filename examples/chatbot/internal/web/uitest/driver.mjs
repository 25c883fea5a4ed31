// Runs scenarios in a browser: reads {"scenario", "url"} a line, answers
// {"failure"} a line, which is empty on success, until its input ends.

import { createInterface } from "node:readline";
import process from "node:process";
import { chromium } from "playwright-core";
import * as chat from "./scenarios/chat.mjs";
import * as enclave from "./scenarios/enclave.mjs";
import * as errors from "./scenarios/errors.mjs";
import * as looks from "./scenarios/looks.mjs";
import * as pictures from "./scenarios/pictures.mjs";
import { User } from "./scenarios/user.mjs";

const scenarios = { ...chat, ...enclave, ...errors, ...looks, ...pictures };

const browser = await chromium.launch({
	executablePath: process.argv[2],
	chromiumSandbox: process.getuid() !== 0, // Chromium's sandbox refuses root
});

for await (const line of createInterface({ input: process.stdin })) {
	const { scenario, url } = JSON.parse(line);
	const failure = await run(scenarios[scenario], url).then(() => "", (err) => err.stack ?? String(err));
	process.stdout.write(JSON.stringify({ failure }) + "\n");
}
await browser.close();

async function run(scenario, url) {
	if (!scenario) {
		throw new Error("there is no such scenario");
	}
	const user = await User.arrive(browser, url, scenario.context);
	try {
		await scenario(user);
		user.expectNothingOdd();
	} finally {
		await user.leave();
	}
}
