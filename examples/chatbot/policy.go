package main

const policyAbout = `
Two policies decide which enclave may read what, and both name it by its
measurements (PCRs). The client's, which emit makes, is what "chatbot client
-policy" believes before it sends anything. The KMS key's, which key makes, is
what AWS enforces whatever the client believes. Use both.

A rolling upgrade needs no gap and no outage: emit both policies with the
measurements of the old and of the new build, replace the enclaves, and emit
them again with the new measurements alone.
`

var policyCommands = []command{
	{name: "emit", run: runPolicyEmit},
	{name: "key", run: runPolicyKey},
	{name: "lint", run: runPolicyLint},
	{name: "show", run: runPolicyShow},
}
