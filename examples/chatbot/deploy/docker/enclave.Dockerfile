# The content of the enclave image: the chatbot, libllama and the five libraries
# of the C runtime that it needs. No shell, no package manager, no other file.
#
#   docker build -f examples/chatbot/deploy/docker/enclave.Dockerfile -t nitroseal-enclave:dev .
#
# from the root of the repository. "nitro.sh build" does that and adds the command
# line on top, because everything in the image is measured and the command line
# names the KMS key: see there.
#
# Tags move. For images whose PCRs others shall be able to rebuild, replace each
# tag by the digest that "docker buildx imagetools inspect NAME:TAG" prints.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
ENV CGO_ENABLED=0 GOFLAGS=-trimpath
# --build-arg VERSION=v0.1.0 makes the program that release's, byte for byte.
ARG VERSION
RUN go build -ldflags="-s -w -buildid= -X main.stamped=$VERSION" -o /out/chatbot ./examples/chatbot \
 && go build -o /out/install ./inference/llama/install

# The installer gets the prebuilt libllama with the npm client and refuses an
# archive that has not the SHA-512 which is pinned in inference/llama/libllama.
# Then it loads the library and checks its binary interface.
FROM node:22.12.0-bookworm-slim AS library
ENV XDG_CACHE_HOME=/cache
COPY --from=build /out/install /usr/local/bin/install-libllama
RUN install-libllama \
 && mkdir -p /root-of-image/opt/llama /root-of-image/lib64 /root-of-image/lib/x86_64-linux-gnu \
 && cp "$(install-libllama -print-dir)"/*.so "$(install-libllama -print-dir)"/LICENSE /root-of-image/opt/llama/ \
 && cp -L /lib64/ld-linux-x86-64.so.2 /root-of-image/lib64/ \
 && for l in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 libgcc_s.so.1 libstdc++.so.6; do \
      cp -L "$(ldconfig -p | awk -v l="$l" '$1 == l && /x86-64/ {print $NF; exit}')" /root-of-image/lib/x86_64-linux-gnu/; \
    done \
 && find /root-of-image -exec touch -h -d @0 {} +

FROM scratch
COPY --from=library /root-of-image/ /
COPY THIRD_PARTY_LICENSES LICENSE /
COPY --from=build /out/chatbot /chatbot
# The environment is measured too. GGML_NO_BACKTRACE keeps a crash from starting
# a debugger.
ENV NITROSEAL_LIBLLAMA_DIR=/opt/llama GGML_NO_BACKTRACE=1
# nitro-cli takes CMD alone where there is one and forgets ENTRYPOINT: there must
# never be a CMD here.
ENTRYPOINT ["/chatbot", "enclave"]
