# make demo           set everything up and answer a question
# make demo Q="..."   ask that question
# make chat           the same, with a prompt
# make serve          the same, with a web page and OpenAI-style endpoints
# make vm-demo        the same, with the enclave's image booted in a virtual machine
# make chaos          break each part in turn while 16 clients ask (docs/CHAOS.md)
# make soak           16 clients at full load for half an hour (docs/SOAK.md)
# make nitro-test     boot an image in QEMU's Nitro machine, where there is one
# make test           all tests
# make check          what CI runs

GO ?= go
Q ?= i can't access my email, my username is jdoe

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo chat serve chaos soak vm-demo nitro-test test race lint fuzz check lib

# The question goes through the environment, so that quotes in it are safe.
demo: export Q := $(Q)
demo: lib bin/chatbot
	@bin/chatbot demo -v -q "$$Q"

chat: lib bin/chatbot
	@bin/chatbot demo

serve: lib bin/chatbot
	@bin/chatbot demo -serve 127.0.0.1:8080

vm-demo: export Q := $(Q)
vm-demo:
	@.ci/vm-demo -q "$$Q"

chaos: lib bin/chatbot
	$(GO) run ./examples/chatbot/chaos -chatbot bin/chatbot -o docs/CHAOS.md

soak: lib bin/chatbot
	$(GO) run ./examples/chatbot/soak -chatbot bin/chatbot -duration 30m -o docs/SOAK.md

nitro-test:
	@.ci/nitro-test

test: lib
	$(GO) test -count=1 ./...

race: lib
	$(GO) test -count=1 -race ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: the files above are not formatted'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Each fuzz target for FUZZTIME, one after the other.
FUZZTIME ?= 10s
fuzz:
	@.ci/fuzz $(FUZZTIME)

check:
	.ci/run

# libllama goes into the user's cache folder, not into the repository.
lib:
	@$(GO) run ./inference/llama/install

.PHONY: bin/chatbot
bin/chatbot:
	@$(GO) build -trimpath -o $@ ./examples/chatbot
