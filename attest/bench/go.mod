module github.com/nitroseal/nitroseal/attest/bench

go 1.26.0

require (
	github.com/hf/nitrite v0.0.0-20211104000856-f9e0dcc73703
	github.com/nitroseal/nitroseal v0.0.0
)

require (
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/hf/nsm v0.0.0-20220930140112-cd181bd646b9 // indirect
	github.com/veraison/go-cose v1.3.0 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)

replace github.com/nitroseal/nitroseal => ../..
