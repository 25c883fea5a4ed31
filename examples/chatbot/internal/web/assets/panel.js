// The panel that says in human terms why the enclave is believed, or that it
// is not.

import { byId, element, icon, minute, moment } from "./dom.js";
import { dangers } from "./attestation.js";

const meanings = {
	0: "the whole image",
	1: "its kernel and start-up code",
	2: "the programs in it",
	3: "the role of the host machine",
	4: "the host machine itself",
	8: "who signed the image",
};

const states = {
	match: ["check", "matches"],
	mismatch: ["cross", "does not match"],
	"not checked": ["dash", "not checked"],
};

// render fills body with what enclave is known to be.
export function render(body, enclave, verifyAgain) {
	const again = element("button", { type: "button", className: "wide-button", onclick: verifyAgain }, icon("retry"), "Verify again now");
	const parts = enclave.report ? verified(enclave.report) : enclave.failure ? failed(enclave.failure) : [headline("checking", "Checking", "The enclave is being asked to prove what it is.")];
	body.replaceChildren(...parts, again);
	byId("panel-title").textContent = enclave.level === "private" ? "Why this is private" : "About this enclave";
}

function headline(level, title, ...lines) {
	const icons = { private: "shield", checking: "wait" };
	return element("div", { className: "verdict", "data-level": level }, icon(icons[level] ?? "alert"),
		element("div", {}, element("h3", {}, title), ...lines.map((line) => element("p", {}, line))));
}

function failed(failure) {
	return [
		headline("untrusted", "Not trusted", failure.message),
		element("p", {}, "No question is sent while this is so. If it goes on, tell whoever runs the service."),
		failure.pcr ? section("What differs", pcr(failure.pcr)) : null,
		section("For your administrator", facts({ Reason: failure.code, "Rule of the policy": failure.rule })),
	].filter((part) => part !== null);
}

function verified(report) {
	const open = dangers(report);
	const verdict = open.length > 0
		? headline("unprotected", "Not protected", ...open, "Do not enter real or personal data.")
		: headline("private", "Only the enclave can read your questions", "Neither the host machine and its operators nor the network between can.");
	return [
		verdict,
		element("ol", { className: "steps" }, ...steps(report)),
		section("What it does not hide", element("p", {}, "The host sees when you ask, and how much. What you see here is also readable by other programs of yours on this computer.")),
		section("The model", facts({
			"Calls itself": report.model.name,
			"SHA-256 of its file": code(report.model.digest),
			Weights: report.model.parameters ? report.model.parameters.toLocaleString("en-GB") : "",
			"Question and answer": report.model.max_tokens ? `${report.model.max_tokens.toLocaleString("en-GB")} tokens at most` : "",
			"Run by": report.model.engine,
		})),
		section("The document", facts({
			Module: report.document.module_id,
			"Made at": moment(report.document.timestamp),
			"Verified at": moment(report.verified_at),
			Size: `${report.document.bytes.toLocaleString("en-GB")} bytes, PCRs in ${report.document.digest}`,
			"Asked through": report.parent,
		}), element("a", { className: "wide-button", href: "/api/attestation/document", download: "nitroseal-attestation.cose" }, icon("receipt"), "Download it to check it yourself")),
	];
}

// steps are the links of the chain. Each has its words for when it holds, and
// for when it does not.
function steps(report) {
	const { policy, key, simulated } = report;
	const pcrs = disclosure("The fingerprints (PCRs)", ...report.pcrs.map(pcr));
	const chain = disclosure(`The ${report.certificates.length} certificates`, element("ol", { className: "chain" }, ...report.certificates.map(certificate)));
	const keyFacts = facts({ Key: code(key.id), Algorithms: key.suite, "Replaced after": moment(key.not_after) });
	const kms = facts({ "KMS key": code(report.kms_key) });
	const chosen = policy.measurement ? `“${policy.measurement}”` : "the build that it names";
	const several = policy.alternatives > 1 ? `, one of ${policy.alternatives} that you accept` : "";
	return [
		simulated ? broken("No hardware measured the software", "A program that imitates the hardware stated these measurements. On AWS the Nitro hypervisor takes them before the enclave starts.", pcrs)
			: report.debug ? broken("The machine did not measure the software", "For an enclave in debug mode the hypervisor states zeros, whatever it runs.", pcrs)
				: step("The machine measured the software", "The AWS Nitro hypervisor took fingerprints of the enclave’s image before it started. Any change to what is in it changes them.", pcrs),
		simulated ? broken("AWS did not sign the measurements", "The certificates of the document end in a root that was made for trying things out. Whoever has its key can state anything.", chain)
			: step("AWS signed the measurements", "The certificates of the document end in AWS’s own Nitro Enclaves root, which this program knows.", chain),
		report.any_measurement ? broken("Your policy names no software", "It accepts any measurement.")
			: step("Your policy names exactly this software", `All that your policy asks for was found: it is ${chosen}${several}.`),
		simulated ? broken("The key is in no enclave", "Your questions are sealed to a key that the document vouches for, as ever. But it is in the memory of an ordinary program.", keyFacts)
			: step("Your questions are sealed to a key that only this enclave has", "The signed document vouches for the key. The program on your computer seals each question to it before it leaves.", keyFacts),
		!report.kms_key ? step("No KMS is needed", "In this set-up your question goes to the enclave under the sealed key alone.")
			: simulated ? broken("KMS is as good as these measurements", "The rules of the KMS key ask for them, and here anybody could state them.", kms)
				: step("KMS opens your questions for these measurements only", "The rules of the KMS key decide this. AWS keeps them, out of the host’s reach. This page cannot see them: your administrator can.", kms),
	];
}

const step = (title, text, ...more) => link(true, title, text, more);
const broken = (title, text, ...more) => link(false, title, text, more);

function link(holds, title, text, more) {
	return element("li", { "data-holds": String(holds) },
		element("h3", {}, icon(holds ? "check" : "alert"), title), element("p", {}, text), ...more);
}

const value = (hex) => (hex === "" ? "none" : /^0+$/.test(hex) ? "all zero" : code(hex));

function pcr(info) {
	const [drawing, word] = states[info.state] ?? states.mismatch;
	const values = info.state === "mismatch"
		? facts({ "Your policy": value(info.expected), Found: value(info.found) })
		: element("p", {}, value(info.found));
	return element("div", { className: "pcr", "data-state": info.state },
		element("p", {}, element("strong", {}, `PCR${info.index}`), element("span", {}, meanings[info.index] ?? "set by the enclave itself"),
			element("span", { className: "state" }, icon(drawing), word)), values);
}

function certificate(c) {
	return element("li", {}, element("p", { className: "subject" }, c.subject),
		element("p", {}, `${c.valid ? "Valid" : "NOT valid"}: ${minute(c.not_before)} to ${minute(c.not_after)}`), code(c.sha256));
}

const section = (title, ...children) => element("section", {}, element("h3", {}, title), ...children);

const code = (text) => (text ? element("code", {}, text) : "");

function disclosure(title, ...children) {
	return element("details", {}, element("summary", {}, title), ...children);
}

// facts lists what is known; empty values are left out.
function facts(values) {
	const known = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
	return element("dl", {}, ...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
