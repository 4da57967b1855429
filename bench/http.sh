#!/usr/bin/env bash
# Us beside our peers: CPU, speed and memory of HTTP through the tunnel.
#
#   ./dev bench                   everything, 15 to 20 minutes; writes docs/benchmarks.md
#   ./dev bench --only small      one claim again: small bulk memory start handshakes syscalls
#   ./dev bench --quick           does it all work? A few minutes, writes build/bench/ only
#
# It runs in a network of its own that has nothing but loopback, where the kernel allows that. A
# stock cloudflared takes part when CLOUDFLARED is its path, HAProxy when it is installed. Exit
# status 0 means that everything could be measured; no figure is ever an error.

set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

export ADIT_BIN_DIR=${ADIT_BIN_DIR:-$PWD/../build/release/bin}
export PATH=$PATH:/usr/sbin:/sbin
export PYTHONDONTWRITEBYTECODE=1
ulimit -n "$(ulimit -H -n)"

# $0 is bash, "$@" the command.
inside='ip link set lo up && export BENCH_ALONE=1 && exec "$@"'
for how in -n -rn; do
	if unshare "$how" ip link set lo up 2>/dev/null; then
		exec unshare "$how" bash -c "$inside" bash /usr/bin/python3 main.py "$@"
	fi
done
echo "bench: no network of its own here (unshare -n); loopback of this machine it is" >&2
exec /usr/bin/python3 main.py "$@"
