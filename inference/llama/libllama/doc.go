// Package libllama finds libllama, the shared library of llama.cpp, on this
// machine, and fetches a known build of it.
//
// [Find] looks where Options.LibraryDir of package llama says, and otherwise
// in the folders of [SearchDirs]. [Fetch] gets the prebuilt library from the
// npm package @node-llama-cpp/linux-x64 or -arm64 with the npm client, checks
// the archive against a digest that is pinned here, and unpacks it into the
// user's cache folder. It needs glibc 2.34 or later.
//
// Finding a file says nothing about its content: package llama checks the
// binary interface of what it loads. Whoever can write to a folder of the
// search decides what runs in the process.
package libllama
