#!/usr/bin/env bash
# Us beside our peers: CPU, speed and memory of HTTP through the tunnel.
#
#   ./dev bench                   everything, half an hour; writes docs/benchmarks.md
#   ./dev bench --only small      one claim again: small bulk tunnel crowd memory start handshakes names
#                                 access syscalls profile
#   ./dev bench --quick           does it all work? About a minute, writes build/bench/ only
#
# It runs in a network of its own that has nothing but loopback, with a hosts file of its own that knows
# our control host. A stock cloudflared takes part when CLOUDFLARED is its path, HAProxy when it is
# installed. Exit status 0 means that everything could be measured; no figure is ever an error.

set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

export ADIT_BIN_DIR=${ADIT_BIN_DIR:-$PWD/../build/release/bin}
export PATH=$PATH:/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE=1
ulimit -n "$(ulimit -H -n)"

inside='
	ip link set lo up
	hosts=$(mktemp)
	echo "127.0.0.1 localhost adit.example.com" >"$hosts"
	mount --bind "$hosts" /etc/hosts
	rm "$hosts"
	exec "$@"
'
for how in -nm -rnm; do # as root, or as a user whom the kernel lets be root in there
	if unshare "$how" ip link set lo up 2>/dev/null; then
		exec unshare "$how" bash -ec "$inside" bash /usr/bin/python3 main.py "$@"
	fi
done
echo "bench: this needs a network of its own (unshare -n), as root or with user namespaces allowed" >&2
exit 1
