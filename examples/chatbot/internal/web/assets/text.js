// Showing what the model wrote. It is untrusted: it becomes text, with its line
// breaks, and in a monospaced font between lines of ```. There is no other
// markup, no link and no image.

const fence = /^ {0,3}```/;

// blocks splits an answer into runs of text and of code.
export function blocks(answer) {
	const found = [];
	let lines = [];
	let code = false;
	const end = () => {
		const text = code ? lines.join("\n") : lines.join("\n").trim();
		if (text !== "") {
			found.push({ code, text });
		}
		lines = [];
	};
	for (const line of answer.split("\n")) {
		if (fence.test(line)) {
			end();
			code = !code;
		} else {
			lines.push(line);
		}
	}
	end();
	return found;
}

// show makes the children of parent say answer. It changes only those that
// differ, so that it can be called for each piece of a growing answer.
export function show(parent, answer) {
	const wanted = blocks(answer);
	wanted.forEach((block, i) => {
		const tag = block.code ? "PRE" : "P";
		let child = parent.children[i];
		if (child?.tagName !== tag) {
			const made = document.createElement(tag);
			made.dir = "auto";
			if (block.code) {
				made.tabIndex = 0; // it may be too wide, and be scrolled with keys
			}
			if (child) {
				child.replaceWith(made);
			} else {
				parent.append(made);
			}
			child = made;
		}
		if (child.textContent !== block.text) {
			child.textContent = block.text;
		}
	});
	while (parent.children.length > wanted.length) {
		parent.lastElementChild.remove();
	}
}
