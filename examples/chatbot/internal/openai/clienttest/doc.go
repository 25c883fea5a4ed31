// Package clienttest has no code of its own. Its tests ask a handler of package
// openai, listening on a real port, with OpenAI's libraries for Go and for
// Node.js: what those libraries make of it is what compatible means.
//
// The tests for Node.js need node (20 or newer) and npm, and skip without them,
// or fail if NITROSEAL_REQUIRE_FOREIGN is set.
package clienttest
