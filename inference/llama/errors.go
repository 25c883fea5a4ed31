package llama

import "github.com/nitroseal/nitroseal/inference/llama/internal/native"

// ABIError is the error of [Open] for a library that is found but not used:
// its version is unknown, or its structures and functions are not those of its
// version. Another library is needed; the message names the versions that are
// known. Look for it with [errors.As]:
//
//	var abi *llama.ABIError
//	if errors.As(err, &abi) {
//		log.Printf("%s is version %q: %s", abi.Path, abi.Version, abi.Reason)
//	}
//
// Path is the library, Version what it calls itself, or empty if it does not
// say, and Reason what is wrong with it. All are strings.
type ABIError = native.ABIError
