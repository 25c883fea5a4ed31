// Building the page. Text gets in through textContent and attributes only;
// nothing here, or elsewhere, makes HTML of text.

export const byId = (id) => document.getElementById(id);

// element makes an element. Properties are set as properties, but for
// aria-…, data-… and role, which are attributes. Children are nodes or text;
// null ones are left out.
export function element(tag, properties = {}, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (name.includes("-") || name === "role") {
			e.setAttribute(name, value);
		} else {
			e[name] = value;
		}
	}
	e.append(...children.filter((c) => c !== null && c !== undefined));
	return e;
}

// icon makes one of the drawings that the page begins with.
export function icon(name) {
	const svg = byId("icon-template").content.firstElementChild.cloneNode(true);
	setIcon(svg, name);
	return svg;
}

export function setIcon(svg, name) {
	svg.querySelector("use").setAttribute("href", "#i-" + name);
}

// button makes a button with a drawing and a text.
export function button(text, iconName, onclick, className = "small") {
	return element("button", { type: "button", className, onclick }, icon(iconName), element("span", {}, text));
}

// download hands bytes to the browser as a file. This is the only way by which
// something of a conversation gets on disk, and only the user takes it.
export function download(bytes, name, type) {
	const url = URL.createObjectURL(new Blob([bytes], { type }));
	element("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const moments = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

const minutes = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

// minute is moment without the seconds.
export const minute = (text) => minutes.format(new Date(text));

// moment is a time of the Go side in the user's own time zone.
export const moment = (text) => moments.format(new Date(text));

const speech = () => byId("spoken");

// speak has a screen reader say text when it is free. Saying nothing forgets.
export function speak(text) {
	speech().textContent = text;
}
