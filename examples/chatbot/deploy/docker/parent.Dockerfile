# The parent: HTTP front, way to KMS, offers of sealed models. It holds ciphertext
# only. One static program and nothing else.
#
#   docker build -f examples/chatbot/deploy/docker/parent.Dockerfile -t nitroseal-parent:dev .
#
# It needs AF_VSOCK, which the default seccomp profiles of Docker (23 and newer)
# and containerd refuse. For a container on its own:
#
#   docker run --security-opt seccomp=examples/chatbot/deploy/k8s/node/seccomp-vsock.json ...

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
ENV CGO_ENABLED=0 GOFLAGS=-trimpath
# --build-arg VERSION=v0.1.0 makes the program that release's, byte for byte.
ARG VERSION
RUN go build -ldflags="-s -w -buildid= -X main.stamped=$VERSION" -o /out/chatbot ./examples/chatbot

# purego makes the program a dynamic one also without cgo: it needs the loader and
# libc, and libdl and libpthread by name.
FROM debian:12.8-slim AS libc
RUN mkdir -p /root-of-image/lib64 /root-of-image/lib/x86_64-linux-gnu \
 && cp -L /lib64/ld-linux-x86-64.so.2 /root-of-image/lib64/ \
 && for l in libc.so.6 libdl.so.2 libpthread.so.0; do \
      cp -L "$(ldconfig -p | awk -v l="$l" '$1 == l && /x86-64/ {print $NF; exit}')" /root-of-image/lib/x86_64-linux-gnu/; \
    done

FROM scratch
COPY --from=libc /root-of-image/ /
COPY THIRD_PARTY_LICENSES LICENSE /
COPY --from=build /out/chatbot /chatbot
USER 65532:65532
EXPOSE 5001 5002
ENTRYPOINT ["/chatbot", "parent"]
