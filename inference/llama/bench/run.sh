#!/usr/bin/env bash
# Measures with the libllama, llama-server and llama-bench of one folder tree,
# such as / where Debian's llama.cpp is installed, or a root made with
#
#	mmdebstrap --include=llama.cpp,llama.cpp-tools,libllama0 sid ROOT
#
#	./run.sh ROOT MODEL.gguf [flags of the program]
#
# The model is made first if it is not there. Programs of another root are
# started with that root's loader, since its libraries need its C library.
set -euo pipefail
cd "$(dirname "$0")"
root=$(realpath "$1") && root=${root%/}
model=$(realpath -m "$2")
shift 2
lib=$root/usr/lib/$(uname -m)-linux-gnu
[ -e "$lib/libllama.so.0" ] || [ -e "$lib/libllama.so" ] || { echo "there is no libllama in $lib" >&2; exit 1; }
[ -e "$model" ] || go run ./genmodel -o "$model"

flags=()
if [ -n "$root" ]; then
	for loader in "$root"/usr/lib64/ld-linux-*.so.* "$root"/usr/lib/ld-linux-*.so.*; do
		[ ! -e "$loader" ] || break
	done
	flags=(-loader "$loader --library-path $lib:$lib/llama")
fi
# Without cgo, so that the loader of another root can start it.
bench=$(mktemp)
trap 'rm -f "$bench"' EXIT
CGO_ENABLED=0 go build -o "$bench" .
"$bench" -model "$model" -lib "$lib" -server "$root/usr/bin/llama-server" -bench "$root/usr/bin/llama-bench" "${flags[@]}" "$@"
