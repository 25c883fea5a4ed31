#!/usr/bin/env bash
# Installs the chatbot on a parent instance as root: the program, nitro.sh, one
# enclave image and two systemd units. Nothing is started, and settings that are
# there already stay.
#
#   install.sh CHATBOT IMAGE.eif
#
# ROOT=DIR installs below DIR. It was not run on Nitro hardware by those who
# wrote it.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${ROOT:=}"
if [ -z "$ROOT" ]; then
	getent passwd nitroseal >/dev/null ||
		useradd --system --no-create-home --shell /usr/sbin/nologin --groups ne nitroseal
fi
install -d "$ROOT/opt/nitroseal" "$ROOT/etc/systemd/system"
install -d -m 0750 "$ROOT/etc/nitroseal" "$ROOT/etc/nitroseal/tls"
install -m 0755 "$1" "$ROOT/opt/nitroseal/chatbot"
install -m 0644 "$2" "$ROOT/opt/nitroseal/chatbot.eif"
install -m 0755 "$here/nitro.sh" "$ROOT/opt/nitroseal/nitro.sh"
install -m 0644 "$here"/systemd/*.service "$ROOT/etc/systemd/system/"
for f in parent.env enclave.env; do
	[ -e "$ROOT/etc/nitroseal/$f" ] || install -m 0640 "$here/systemd/$f" "$ROOT/etc/nitroseal/$f"
done
if [ -z "$ROOT" ]; then
	chown -R root:nitroseal /etc/nitroseal
	systemctl daemon-reload
fi
echo 'now: set /etc/nitroseal/*.env, put a certificate into /etc/nitroseal/tls, and'
echo '     systemctl enable --now nitroseal-enclave.service nitroseal-parent.service'
