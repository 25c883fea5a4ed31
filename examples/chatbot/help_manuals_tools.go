package main

import "slices"

// toolManuals are the pages of what prepares and judges.
var toolManuals = map[string]manual{
	"model": {
		summary: "fetch, convert, show and seal model files",
		examples: []example{
			{"Get a model, and encrypt it for the enclave:",
				"chatbot model fetch -url https://example.com/m.gguf -sha256 \"$SHA256\" \\\n    -o m.gguf\nchatbot model seal -in m.gguf -out m.sealed -key-arn \"$KEY_ARN\""},
		},
		seeAlso: []string{"enclave"},
	},
	"model fetch": {
		summary: "download a file whose digest is known, with resume",
		files:   []entry{{"files beside -o", "What has come so far, until the file is whole."}},
		env:     append([]entry{{"TERM", "With \"dumb\", progress is told in lines."}}, proxyEnv...),
		examples: []example{
			{"Download, or go on with a download:", "chatbot model fetch -url https://example.com/m.gguf -sha256 \"$SHA256\" \\\n    -o m.gguf"},
		},
		seeAlso: []string{"model show", "model seal"},
	},
	"model convert": {
		summary: "make a GGUF file of a BLOOM model as Hugging Face has it",
		env:     []entry{{"TERM", "With \"dumb\", progress is told in lines."}},
		examples: []example{
			{"Make a file of about 600 MB:", "chatbot model convert -from bloom-560m -o bloom-560m.gguf -type q8_0"},
		},
		seeAlso: []string{"model show", "model seal"},
	},
	"model show": {
		summary:  "tell what a GGUF file holds",
		operands: "FILE",
		examples: []example{{"Tell digest, metadata and tensors:", "chatbot model show m.gguf"}},
		seeAlso:  []string{"model convert"},
	},
	"model seal": {
		summary: "encrypt a GGUF file for attested enclaves",
		env:     slices.Concat(credentialEnv, proxyEnv),
		examples: []example{
			{"Encrypt, and print the digest for the enclave's command line:", "chatbot model seal -in m.gguf -out m.sealed -key-arn \"$KEY_ARN\""},
		},
		seeAlso: []string{"model release", "enclave", "policy key"},
	},
	"model release": {
		summary: "let one verified enclave open a sealed model",
		env:     slices.Concat(credentialEnv, proxyEnv),
		examples: []example{
			{"Release the model to the enclave behind a parent:",
				"chatbot model release -sealed m.sealed -policy policy.json \\\n    -parent https://parent.example:5001"},
		},
		seeAlso: []string{"model seal", "enclave", "policy emit"},
	},
	"eif": {
		summary: "build and measure enclave image files",
		examples: []example{
			{"Compare an image with what its makers published:", "chatbot eif measure chatbot.eif | diff - published.json"},
		},
		seeAlso: []string{"policy emit", "policy key"},
	},
	"eif build": {
		summary: "build an enclave image file, the same for the same input",
		examples: []example{
			{"Build an image and both policies for it:",
				"chatbot eif build -kernel bzImage -cmdline \"console=ttyS0 reboot=k\" \\\n" +
					"    -ramdisk init.cpio.gz -ramdisk app.cpio.gz \\\n" +
					"    -name chatbot -version 1.4 \\\n" +
					"    -o chatbot.eif -policy policy.json -key-policy key-policy.json \\\n" +
					"    -admin arn:aws:iam::111122223333:role/key-admin \\\n" +
					"    -client arn:aws:iam::111122223333:role/chatbot-client"},
			{"Sign it, which adds PCR8:",
				"chatbot eif build -kernel bzImage -cmdline \"console=ttyS0\" \\\n    -ramdisk init.cpio -o chatbot.eif \\\n    -signing-key key.pem -signing-cert cert.pem"},
		},
		seeAlso: []string{"eif measure", "policy emit", "policy key"},
	},
	"eif image": {
		summary:  "build the chatbot's enclave image, with all that goes with it",
		operands: "[-- ENCLAVE_FLAG...]",
		files:    slices.Concat([]entry{{"files beside -o", "Measurements, both policies and what to allocate."}}, libraryFiles),
		env:      libraryEnv,
		examples: []example{
			{"Build an image and the key policy for it:",
				"chatbot eif image -kernel bzImage -modules lib/modules \\\n" +
					"    -o chatbot.eif -admin \"$ADMIN_ARN\" -client \"$CLIENT_ARN\" \\\n" +
					"    -- -key-arn \"$KEY_ARN\" \\\n" +
					"    -egress kms.us-east-1.amazonaws.com:443=vsock://3:8000"},
		},
		seeAlso: []string{"enclave", "eif build", "policy key"},
	},
	"eif describe": {
		summary:  "tell what an enclave image file holds",
		operands: "FILE|-",
		exit:     imageExits,
		examples: []example{{"Describe an image:", "chatbot eif describe chatbot.eif"}},
		seeAlso:  []string{"eif measure"},
	},
	"eif measure": {
		summary:  "print the measurements of an enclave image file",
		operands: "FILE|-",
		exit:     imageExits,
		examples: []example{{"Make a policy of what the image measures:", "chatbot eif measure chatbot.eif >measurements.json\nchatbot policy emit -measurements v1.4=measurements.json -o policy.json"}},
		seeAlso:  []string{"eif describe", "policy emit"},
	},
	"policy": {
		summary: "say which enclave may read what, and judge what others said",
		examples: []example{
			{"Both policies for a rolling upgrade from one image to the next:",
				"chatbot policy emit -measurements old=v1.3.eif \\\n    -measurements new=v1.4.eif -o policy.json\n" +
					"chatbot policy key -admin \"$ADMIN_ARN\" -client \"$CLIENT_ARN\" \\\n    -measurements policy.json -o key-policy.json"},
		},
		seeAlso: []string{"client", "eif build", "verify"},
	},
	"policy emit": {
		summary: "write the policy by which a client recognizes the enclave",
		examples: []example{
			{"Of an image file, or of what nitro-cli printed:", "chatbot policy emit -measurements chatbot.eif -o policy.json\nnitro-cli describe-enclaves | chatbot policy emit -measurements -"},
			{"Of two builds, while one replaces the other:", "chatbot policy emit -measurements old=v1.3.eif \\\n    -measurements new=v1.4.eif"},
			{"Of registers:", "chatbot policy emit -pcr v1.4:0=\"$PCR0\" -pcr v1.4:8=\"$PCR8\" -max-age 2m"},
		},
		seeAlso: []string{"policy show", "policy key", "client", "verify"},
	},
	"policy key": {
		summary: "write the key policy of the KMS key",
		examples: []example{
			{"For clients that sign requests for the enclave:",
				"chatbot policy key -admin arn:aws:iam::111122223333:role/key-admin \\\n" +
					"    -client arn:aws:iam::111122223333:role/chatbot-client \\\n" +
					"    -measurements chatbot.eif -o key-policy.json\n" +
					"aws kms put-key-policy --key-id \"$KEY_ARN\" --policy-name default \\\n" +
					"    --policy file://key-policy.json"},
			{"For two builds, while one replaces the other:",
				"chatbot policy key -admin \"$ADMIN_ARN\" -client \"$CLIENT_ARN\" \\\n    -measurements old=v1.3.eif -measurements new=v1.4.eif"},
		},
		seeAlso: []string{"policy lint", "policy emit", "model seal"},
	},
	"policy lint": {
		summary:  "say what defeats attestation in a KMS key policy",
		operands: "POLICY_FILE|-",
		exit: []entry{
			{"0", "Nothing in the policy defeats attestation."},
			{"1", "Something does; with -strict, or there is a warning."},
			{"2", "It was called wrongly, or a file cannot be read."},
		},
		examples: []example{
			{"Judge the policy of a key that is in use:",
				"aws kms get-key-policy --key-id \"$KEY_ARN\" --query Policy \\\n    --output text | chatbot policy lint -delegating \"$CLIENT_ARN\" -"},
			{"Find measurements that are out of use:", "chatbot policy lint -strict -measurements chatbot.eif key-policy.json"},
		},
		seeAlso: []string{"policy key", "policy show"},
	},
	"policy show": {
		summary:  "say in words what a policy accepts",
		operands: "POLICY_FILE|-",
		examples: []example{{"Show the client's policy:", "chatbot policy show policy.json"}},
		seeAlso:  []string{"policy lint", "policy emit"},
	},
	"verify": {
		summary:  "show an attestation document and say whether to believe it",
		operands: "[FILE|-]",
		exit: []entry{
			{"0", "The document, or the receipt, is genuine and meets the policy, if there is one."},
			{"1", "It is refused; the last line says why."},
			{"2", "It was called wrongly, or a file cannot be read."},
		},
		examples: []example{
			{"Judge a document by a policy:", "chatbot verify -policy policy.json document.cbor"},
			{"Look at an old one, in base64, as of its own time:", "chatbot verify -at 2026-01-02T15:04:05Z document.b64"},
			{"Look at a simulated one:", "chatbot verify -roots simulated-root.pem document.cbor"},
			{"Judge a receipt that came with a question and an answer:", "chatbot verify -policy policy.json -receipt receipt.json \\\n    -question question.txt -answer answer.txt"},
		},
		seeAlso: []string{"policy emit", "client"},
	},
	"version": {
		summary:  "tell which release this program is",
		examples: []example{{"Tell it, and which program it is:", "chatbot version\nsha256sum \"$(command -v chatbot)\""}},
		seeAlso:  []string{"verify", "eif measure"},
	},
	"completion": {
		summary:  "make a shell complete commands, flags and files",
		operands: "bash|zsh|fish",
		files: []entry{
			{"~/.bashrc", "Where bash reads what all shells shall have."},
			{"~/.zshrc", "The same for zsh, after its compinit."},
			{"~/.config/fish/completions/chatbot.fish", "Where fish looks."},
		},
		examples: []example{
			{"In bash, and in zsh:", "source <(chatbot completion bash)\nsource <(chatbot completion zsh)"},
			{"In fish:", "chatbot completion fish | source"},
		},
		seeAlso: []string{"help"},
	},
	"help": {
		summary:  "show the manual page of a command",
		operands: "[COMMAND...]",
		examples: []example{
			{"The page of a command of a group:", "chatbot help policy lint"},
			{"All pages:", "chatbot help -all"},
		},
		seeAlso: []string{"completion"},
	},
}

// imageExits are the exit statuses of commands that read an image.
var imageExits = []entry{{"1", "The file cannot be read, or is no good image; standard error says why."}}
