package main

import (
	"maps"
	"slices"
)

// manuals has what a manual page says besides description and flags, by the
// command's name; "" is the program. A command without an entry fails the
// tests, and so does an example with a flag that does not exist.
var manuals = func() map[string]manual {
	all := maps.Clone(pipelineManuals)
	maps.Copy(all, toolManuals)
	return all
}()

// Entries that several pages share.
var (
	credentialEnv = []entry{
		{"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "The user's credentials, where -credentials is not given."},
	}
	proxyEnv = []entry{
		{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "Proxies for what goes over HTTP."},
	}
	terminalEnv = []entry{
		{"TERM", "With \"dumb\", nothing is coloured and no line changes."},
		{"NO_COLOR", "If set to anything, nothing is coloured."},
	}
	libraryEnv = []entry{
		{"NITROSEAL_LIBLLAMA_DIR", "The folder of libllama, where -llama-lib is not given."},
	}
	libraryFiles = []entry{
		{"nitroseal/llama in the user's cache folder", "Where \"go run ./inference/llama/install\" puts libllama, and where it is looked for first."},
	}
)

// pipelineManuals are the pages of what runs when a question is asked.
var pipelineManuals = map[string]manual{
	"": {
		summary: "questions over confidential data, answered inside a Nitro Enclave",
		exit:    []entry{{"1", "A command failed, or gave a verdict against what it judged; see its page."}},
		examples: []example{
			{"Try everything on this machine:", `chatbot demo -v -q "what is my deductible?"`},
			{"Read the page of a command, and all pages:", "chatbot help policy lint\nchatbot help -all | less"},
		},
		seeAlso: []string{"demo", "help", "completion"},
	},
	"demo": {
		summary: "run everything on this machine, with simulators, and ask",
		files:   libraryFiles,
		env: append([]entry{
			{"TMPDIR", "Where the folder for sockets, keys and logs is made; it is removed at the end."},
		}, slices.Concat(terminalEnv, libraryEnv)...),
		exit: askingExits,
		examples: []example{
			{"One question, with each step of every process:", `chatbot demo -v -q "what is my deductible?"`},
			{"See KMS refuse an enclave that its key policy does not name:", `chatbot demo -break-pcr -q "what is my deductible?"`},
		},
		seeAlso: []string{"client", "enclave", "kms"},
	},
	"client": {
		summary: "ask questions",
		env:     slices.Concat(credentialEnv, proxyEnv, terminalEnv),
		exit:    askingExits,
		examples: []example{
			{"Ask once:", "chatbot client -policy policy.json -key-arn \"$KEY_ARN\" \\\n    -parent https://chat.example.com -q \"what is my deductible?\""},
			{"Serve a web page and OpenAI-style endpoints to this machine:", "chatbot client -policy policy.json -key-arn \"$KEY_ARN\" \\\n    -parent https://chat.example.com -serve 127.0.0.1:8080"},
		},
		seeAlso: []string{"policy emit", "verify", "parent"},
	},
	"parent": {
		summary: "take questions over HTTP and pass them to the enclave",
		examples: []example{
			{"On an EC2 instance, serve the enclave with CID 16 and let it reach KMS:",
				"chatbot parent -listen 0.0.0.0:5001 -enclave vsock://16:5000 \\\n    -tls-cert cert.pem -tls-key key.pem \\\n    -egress vsock://any:8000=kms.us-east-1.amazonaws.com:443"},
		},
		seeAlso: []string{"enclave", "client"},
	},
	"enclave": {
		summary: "answer questions, inside the enclave",
		files: append([]entry{
			{"/dev/nsm", "The Nitro Security Module, which signs attestation documents."},
			{"/init, /etc/init.json", "In an image of \"chatbot eif image\": this program, as the kernel starts it, and what it then runs: itself, with the flags that the image is for. It sets the machine up, sends the heartbeat, and restarts the machine, which ends the enclave, when that ends."},
		}, libraryFiles...),
		env: append([]entry{
			{"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "What a sealed model is opened with, where -sealed-model-credentials is not given."},
		}, libraryEnv...),
		examples: []example{
			{"In an enclave image, whose command line is measured:",
				"chatbot enclave -key-arn \"$KEY_ARN\" \\\n    -egress kms.us-east-1.amazonaws.com:443=vsock://3:8000"},
		},
		seeAlso: []string{"parent", "eif image", "model seal", "policy key"},
	},
	"kms": {
		summary: "run a local AWS KMS that enforces attestation, for development",
		examples: []example{
			{"Serve on a port of one's own:", "chatbot kms -config kms.json -ca-out kms-ca.pem -listen 127.0.0.1:4566"},
		},
		seeAlso: []string{"demo", "policy key"},
	},
}

// askingExits are the exit statuses of commands that ask.
var askingExits = []entry{
	{"0", "The question was answered, or the conversation was left."},
	{"3", "The enclave, or its answer, is not to be trusted."},
	{"4", "KMS refused: the key policy or the credentials."},
	{"5", "It is unavailable, overloaded or too late: the same can succeed later."},
	{"130", "It was interrupted."},
}
