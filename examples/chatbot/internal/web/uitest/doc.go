// Package uitest tests the chatbot's page in a browser: package web behind
// package openai, over an Asker that does what the test says.
//
// The tests need node, npm and Chromium. They skip where one is missing, and
// fail there if NITROSEAL_REQUIRE_FOREIGN is set. NITROSEAL_SCREENSHOTS names a
// folder for pictures of the page, which are then taken as well.
//
// scenarios/ has one file for each subject. Its functions work the page as a
// user would; what the enclave does meanwhile they say through the paths under
// /control/ of the test's own server, so that no test waits for time to pass.
package uitest
