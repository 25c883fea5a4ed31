#!/usr/bin/env bash
# The enclave's life on a parent instance, by nitro-cli: the way of the AWS post
# "Large language model inference over confidential data using AWS Nitro Enclaves".
#
#   nitro.sh build [FLAG...]  build the image; FLAGs are those of "chatbot enclave"
#   nitro.sh run              start the enclave
#   nitro.sh supervise        start it, stay until it ends, end it on SIGTERM
#   nitro.sh ready            succeed if the enclave runs
#   nitro.sh describe         print what nitro-cli knows of all enclaves
#   nitro.sh console          print the enclave's console (debug mode only)
#   nitro.sh terminate        end the enclave
#   nitro.sh clean            end the enclave, remove what build has made
#
# Settings, by the environment. The figures are the post's:
#
#   CPU_COUNT=8  MEMORY=70000 (MiB)  ENCLAVE_CID=16  ENCLAVE_NAME=nitroseal-chatbot
#   BUILD_DIR=build  EIF=BUILD_DIR/chatbot.eif  IMAGE=nitroseal-enclave  VERSION=dev
#   (VERSION is written into the program, and so is part of what is measured)
#   AWS_REGION=us-east-1, of the KMS key    KEY_ARN, required by build
#   KMS_ENDPOINT_HOST=kms.AWS_REGION.amazonaws.com  KMS_PORT=8000, of vsock
#   ADMIN_ARN, CLIENT_ARN: with both, build writes the key policy too
#   CHATBOT=chatbot: the program, for measuring and policies
#   DEBUG_MODE=no: "yes" starts the enclave in debug mode, in which whoever has the
#     instance reads the console, PCRs are zero and KMS releases nothing
#
# It was not run on Nitro hardware by those who wrote it: its tests put stand-ins
# in the place of docker and nitro-cli.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${CPU_COUNT:=8}" "${MEMORY:=70000}" "${ENCLAVE_CID:=16}" "${ENCLAVE_NAME:=nitroseal-chatbot}"
: "${BUILD_DIR:=build}" "${IMAGE:=nitroseal-enclave}" "${VERSION:=dev}" "${CHATBOT:=chatbot}"
: "${EIF:=$BUILD_DIR/chatbot.eif}"
: "${AWS_REGION:=us-east-1}" "${KEY_ARN:=}" "${ADMIN_ARN:=}" "${CLIENT_ARN:=}" "${KMS_PORT:=8000}"
: "${KMS_ENDPOINT_HOST:=kms.$AWS_REGION.amazonaws.com}"
: "${DEBUG_MODE:=no}" "${POLL_SECONDS:=5}"

fail() {
	printf 'nitro.sh: %s\n' "$*" >&2
	exit 1
}

number() { [[ ${!1} =~ ^[0-9]+$ ]] || fail "$1 must be a number, not ${!1}"; }

need() { command -v "$1" >/dev/null || fail "$1 is not installed${2:+: $2}"; }

# eif_mib prints how large the image is, in MiB, rounded up.
eif_mib() {
	local bytes
	bytes=$(wc -c <"$EIF")
	echo $(((bytes + 1048575) / 1048576))
}

# json_list prints its arguments as a JSON list of strings.
json_list() {
	local a out=''
	for a in "$@"; do
		[[ $a != *[[:cntrl:]]* ]] || fail 'a flag has a control character, which nitro-cli would take for the end of it'
		a=${a//\\/\\\\}
		a=${a//\"/\\\"}
		out+="${out:+, }\"$a\""
	done
	printf '[%s]' "$out"
}

build() {
	local root written entry least
	need docker
	need nitro-cli 'dnf install aws-nitro-enclaves-cli-devel'
	need "$CHATBOT" 'go build -o bin/chatbot ./examples/chatbot, and set CHATBOT'
	[ -n "$KEY_ARN" ] || fail 'KEY_ARN is empty: it is part of what is measured'
	root=$(cd "$here/../../.." && pwd)
	entry=$(json_list /chatbot enclave -region "$AWS_REGION" -key-arn "$KEY_ARN" \
		-kms-endpoint "https://$KMS_ENDPOINT_HOST" -egress "$KMS_ENDPOINT_HOST:443=vsock://3:$KMS_PORT" "$@")
	mkdir -p "$BUILD_DIR"
	docker build -f "$here/docker/enclave.Dockerfile" --build-arg "VERSION=$VERSION" -t "$IMAGE-base:$VERSION" "$root"
	# The command line is a layer of its own, so that it is measured, and as
	# ENTRYPOINT alone, since nitro-cli takes CMD or ENTRYPOINT and never both.
	printf 'FROM %s\nENTRYPOINT %s\n' "$IMAGE-base:$VERSION" "$entry" | docker build -t "$IMAGE:$VERSION" -
	nitro-cli build-enclave --docker-uri "$IMAGE:$VERSION" --output-file "$EIF" >"$BUILD_DIR/nitro-cli.json"
	# Our own measurement of the file must be what nitro-cli says.
	"$CHATBOT" eif measure "$EIF" >"$BUILD_DIR/measurements.json"
	written=$(grep -o '"PCR0": *"[0-9a-f]\{96\}"' "$BUILD_DIR/measurements.json" | tr -d ' ' || true)
	[ -n "$written" ] || fail "$BUILD_DIR/measurements.json names no PCR0"
	tr -d ' ' <"$BUILD_DIR/nitro-cli.json" | grep -F "$written" >/dev/null ||
		fail "nitro-cli and chatbot measure different PCR0s of $EIF: use neither"
	"$CHATBOT" policy emit -measurements "$VERSION=$BUILD_DIR/measurements.json" -o "$BUILD_DIR/policy.json"
	if [ -n "$ADMIN_ARN" ] && [ -n "$CLIENT_ARN" ]; then
		"$CHATBOT" policy key -admin "$ADMIN_ARN" -client "$CLIENT_ARN" \
			-measurements "$VERSION=$BUILD_DIR/measurements.json" -o "$BUILD_DIR/key-policy.json"
	fi
	number MEMORY
	number CPU_COUNT
	least=$(($(eif_mib) * 4))
	printf -- '---\nmemory_mib: %d\ncpu_count: %d\n' $((MEMORY > least ? MEMORY : least)) "$CPU_COUNT" >"$BUILD_DIR/allocator.yaml"
	cat "$BUILD_DIR/measurements.json"
}

# running prints the id of the enclave of our name, or nothing. It fails if
# nitro-cli does, which says nothing about the enclave.
running() {
	local all
	all=$(nitro-cli describe-enclaves) || return 1
	# An object for each enclave, with name and id before the first object in it.
	printf '%s' "$all" | tr -d ' \n' | tr '{' '\n' |
		grep -F "\"EnclaveName\":\"$ENCLAVE_NAME\"" |
		sed -n 's/.*"EnclaveID":"\([^"]*\)".*/\1/p' | head -n 1 || true
}

run() {
	local debug=()
	[ $# -eq 0 ] || fail "run takes no flags, and not $1: set DEBUG_MODE=yes for debug mode, and read above what that means"
	case $DEBUG_MODE in
	no) ;;
	yes)
		printf '%s\n' 'nitro.sh: WARNING: debug mode. Whoever has this instance reads the console, all PCRs are zero,' \
			'nitro.sh: clients refuse the enclave, and KMS releases nothing to it. Ask it nothing that matters.' >&2
		debug=(--debug-mode)
		;;
	*) fail "DEBUG_MODE is $DEBUG_MODE, not yes or no" ;;
	esac
	number CPU_COUNT
	number MEMORY
	number ENCLAVE_CID
	[ "$ENCLAVE_CID" -gt 3 ] || fail 'ENCLAVE_CID must be over 3: lower ones are the hypervisor, the loopback, the host and this machine'
	need nitro-cli 'dnf install aws-nitro-enclaves-cli'
	[ -r "$EIF" ] || fail "there is no image $EIF: nitro.sh build"
	[ "$MEMORY" -ge $(($(eif_mib) * 4)) ] ||
		fail "MEMORY is $MEMORY MiB, and $EIF needs four times its size, $(($(eif_mib) * 4)) MiB, here and in allocator.yaml"
	[ -z "$(running)" ] || fail "an enclave named $ENCLAVE_NAME runs already: nitro.sh terminate"
	nitro-cli run-enclave --eif-path "$EIF" --cpu-count "$CPU_COUNT" --memory "$MEMORY" \
		--enclave-cid "$ENCLAVE_CID" --enclave-name "$ENCLAVE_NAME" "${debug[@]}"
}

terminate() {
	local id
	need nitro-cli
	id=$(running)
	[ -n "$id" ] || fail "no enclave named $ENCLAVE_NAME runs"
	nitro-cli terminate-enclave --enclave-id "$id"
}

# supervise is for systemd and for a pod, which restart what ends with an error. An
# enclave that another supervise has left behind is ended first.
supervise() {
	local id
	trap 'terminate || true; exit 0' TERM INT
	need nitro-cli
	id=$(running) || fail 'nitro-cli describe-enclaves fails'
	[ -z "$id" ] || terminate
	run
	until id=$(running) && [ -z "$id" ]; do
		# In the background, so that a signal is taken at once and not at the end.
		sleep "$POLL_SECONDS" &
		wait $! || true
	done
	fail "the enclave has ended by itself: it refused to start, or has crashed; see \"Troubleshooting\" in docs/OPERATIONS.md"
}

console() {
	local id
	need nitro-cli
	id=$(running)
	[ -n "$id" ] || fail "no enclave named $ENCLAVE_NAME runs"
	printf '%s\n' 'nitro.sh: WARNING: an enclave has a console in debug mode only, and then protects nothing.' >&2
	exec nitro-cli console --enclave-id "$id"
}

clean() {
	if command -v nitro-cli >/dev/null && [ -n "$(running)" ]; then
		terminate
	fi
	if command -v docker >/dev/null; then
		docker image rm "$IMAGE:$VERSION" "$IMAGE-base:$VERSION" || true
	fi
	local f
	for f in chatbot.eif nitro-cli.json measurements.json policy.json key-policy.json allocator.yaml; do
		rm -f "$BUILD_DIR/$f"
	done
	rmdir "$BUILD_DIR" 2>/dev/null || true
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
build) build "$@" ;;
run) run "$@" ;;
supervise | ready | describe | console | terminate | clean)
	[ $# -eq 0 ] || fail "$command takes no flags"
	case $command in
	ready) [ -n "$(running)" ] ;;
	describe) nitro-cli describe-enclaves ;;
	*) "$command" ;;
	esac
	;;
*)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
	[ "$command" = help ] || exit 2
	;;
esac
