#!/usr/bin/env bash
# Takes the chatbot off this instance and, where asked, out of the account. It only
# says what it would do, unless --yes is given.
#
#   cleanup.sh [--yes] [--delete-key ARN] [--delete-instance ID] [--delete-stack NAME]
#
# Always: stop and disable the units, end the enclave, remove /opt/nitroseal and
# /etc/nitroseal, give the enclave's memory and CPUs back to the instance.
#
#   --delete-key ARN       schedule the deletion of the KMS key in KEY_WAIT_DAYS=30
#                          days. What is sealed under it, sealed models included, is
#                          lost with it. "aws kms cancel-key-deletion" takes it back.
#   --delete-instance ID   end the EC2 instance
#   --delete-stack NAME    delete the CloudFormation stack that made it
#
# The last three need the AWS CLI and credentials of somebody who may do it, which
# do not belong on the parent instance: run it with them on the administrator's
# machine, where the first part finds nothing to do. It was not run on Nitro
# hardware by those who wrote it.
set -euo pipefail

: "${KEY_WAIT_DAYS:=30}" "${ENCLAVE_NAME:=nitroseal-chatbot}" "${ROOT:=}"
yes=no key='' instance='' stack=''
while [ $# -gt 0 ]; do
	case $1 in
	--yes) yes=yes ;;
	--delete-key | --delete-instance | --delete-stack)
		[ -n "${2:-}" ] || { echo "cleanup.sh: $1 needs a name" >&2; exit 2; }
		case $1 in
		--delete-key) key=$2 ;;
		--delete-instance) instance=$2 ;;
		--delete-stack) stack=$2 ;;
		esac
		shift
		;;
	*)
		sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
		exit 2
		;;
	esac
	shift
done
[[ $KEY_WAIT_DAYS =~ ^[0-9]+$ && $KEY_WAIT_DAYS -ge 7 && $KEY_WAIT_DAYS -le 30 ]] ||
	{ echo 'cleanup.sh: KEY_WAIT_DAYS must be 7 to 30' >&2; exit 2; }
[[ -z $key || $key == arn:aws*:kms:*:key/* ]] ||
	{ echo "cleanup.sh: $key is not the ARN of a key; an alias may point elsewhere tomorrow" >&2; exit 2; }

failed=0
try() {
	if [ $yes = no ]; then
		printf 'would run: %s\n' "$*"
		return
	fi
	printf 'running: %s\n' "$*"
	"$@" || { printf 'cleanup.sh: failed: %s\n' "$*" >&2; failed=1; }
}

if command -v systemctl >/dev/null && [ -e "$ROOT/etc/systemd/system/nitroseal-parent.service" ]; then
	# The parent first: it lets answers under way finish.
	for unit in nitroseal-parent.service nitroseal-enclave.service; do
		try systemctl disable --now "$unit"
		try rm -f "$ROOT/etc/systemd/system/$unit"
	done
	try systemctl daemon-reload
fi
if command -v nitro-cli >/dev/null && nitro-cli describe-enclaves | grep -F "\"$ENCLAVE_NAME\"" >/dev/null; then
	try nitro-cli terminate-enclave --enclave-name "$ENCLAVE_NAME"
fi
for dir in /opt/nitroseal /etc/nitroseal; do
	if [ -e "$ROOT$dir" ]; then
		try rm -rf "$ROOT$dir"
	fi
done
if command -v nitro-cli >/dev/null; then
	try systemctl disable --now nitro-enclaves-allocator.service
	echo 'the memory of enclaves comes back with the next boot of the instance'
fi
if [ -n "$stack" ]; then
	try aws cloudformation delete-stack --stack-name "$stack"
fi
if [ -n "$instance" ]; then
	try aws ec2 terminate-instances --instance-ids "$instance"
fi
if [ -n "$key" ]; then
	try aws kms schedule-key-deletion --key-id "$key" --pending-window-in-days "$KEY_WAIT_DAYS"
fi
[ $yes = yes ] || echo 'nothing was done: --yes does it'
exit $failed
