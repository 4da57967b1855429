#!/usr/bin/env bash
# The demo: a web page on this machine becomes https://app.example.com, through an edge and a connector that
# run here too. Everything is on loopback, with ports that need no privilege, in a folder that is
# removed at the end. `./dev demo --keep` leaves it running and says how to stop it.
set -euo pipefail
cd "$(dirname "$0")"
PATH="$(cd "${ADIT_BIN_DIR:-../build/release/bin}" && pwd):$PATH"
PYTHON=/usr/bin/python3
HTTPS=${ADIT_DEMO_PORT:-18443}
HTTP=$((HTTPS + 1)) TUNNEL=$((HTTPS + 2)) METRICS=$((HTTPS + 3)) PAGE=$((HTTPS + 4)) ECHO=$((HTTPS + 5)) READY=$((HTTPS + 6))
KEEP=false
[ "${1:-}" = --keep ] && KEEP=true

work=$(mktemp -d /tmp/adit-demo.XXXXXX)
export HOME=$work # the connector's files are in ~/.adit: not yours, for once
pids=()

say() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }
start() { # start LOG COMMAND...: in the background
	local log=$1
	shift
	printf '\033[36m$ %s &\033[0m\n' "$*"
	"$@" >"$work/$log" 2>&1 &
	pids+=($!)
}
finish() {
	local code=$? pid
	if [ $code -ne 0 ]; then
		printf '\nThe demo failed. What the programs said:\n' >&2
		tail -n 15 "$work"/*.log >&2 || true
	elif $KEEP; then
		say "Everything is left running."
		printf '  page        https://app.example.com:%s/   (curl: --resolve app.example.com:%s:127.0.0.1)\n' "$HTTPS" "$HTTPS"
		printf '  control     https://127.0.0.1:%s/\n  CA          %s\n  files, logs %s\n' "$HTTPS" "$work/edge/ca.pem" "$work"
		printf '  to stop     kill %s; rm -r %s\n' "${pids[*]}" "$work"
		exit 0
	fi
	for pid in $(printf '%s\n' "${pids[@]}" | tac); do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
	exit $code
}
trap finish EXIT
expect() { # expect WHAT PATTERN TEXT
	grep -qE -- "$2" <<<"$3" || { printf 'WRONG: expected %s (%s) in:\n%s\n' "$1" "$2" "$3" >&2; exit 1; }
	printf '  \033[32mok\033[0m %s\n' "$1"
}
until_ok() { # until_ok COMMAND...: asks again until it succeeds, ten seconds at most
	local deadline=$((SECONDS + 10))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || { echo "gave up waiting for: $*" >&2; exit 1; }
		read -rt 0.05 <> <(:) || true
	done
}
field() { sed -n "s/.*name=\"$1\" value=\"\([^\"]*\)\".*/\1/p" | head -n 1; } # a hidden field of a form

say "An edge: the public side. It makes its own certificate authority and knows the zone example.com."
run adit-edge init --data "$work/edge" --zone example.com --control 127.0.0.1 --admin you@example.com --https "127.0.0.1:$HTTPS" | tee "$work/init.txt"
start edge.log adit-edge run --data "$work/edge" --https "127.0.0.1:$HTTPS" --http "127.0.0.1:$HTTP" --tunnel "127.0.0.1:$TUNNEL" --metrics "127.0.0.1:$METRICS"
until_ok curl -fs "http://127.0.0.1:$METRICS/ready"
ca=$work/edge/ca.pem

say "Log in: adit prints a page to open. A browser would; here curl signs in with the one-time link and approves."
start login.log adit tunnel login --cacert "$ca" "https://127.0.0.1:$HTTPS"
until_ok grep -q 'https://.*callback=' "$work/login.log"
page=$(grep -o 'https://[^ ]*callback=[^ ]*' "$work/login.log")
browser() { curl -fsS --cacert "$ca" -b "$work/jar" -c "$work/jar" "$@"; }
token=$(sed -n 's/.*link?token=//p' "$work/init.txt")
csrf=$(browser "$page" | field csrf)
printf '\033[36m$ curl … %s\033[0m\n' "$page"
approve=$(browser -L -d "csrf=$csrf" -d "token=$token" --data-urlencode "next=${page#https://127.0.0.1:"$HTTPS"}" "https://127.0.0.1:$HTTPS/login/link")
action=$(sed -n 's/.*<form[^>]*action="\([^"]*\)".*/\1/p' <<<"$approve" | grep -v sign-out | head -n 1)
zone=$(grep -o 'name="zone"[^>]*value="[^"]*"' <<<"$approve" | sed 's/.*value="\([^"]*\)".*/\1/' | head -n 1)
browser -o "$work/approved.html" -d action=approve -d "csrf=$(field csrf <<<"$approve")" -d "zone=$zone" --data-urlencode "callback=$(field callback <<<"$approve" | sed 's/&amp;/\&/g')" "https://127.0.0.1:$HTTPS$action"
until_ok test -s "$work/.adit/cert.pem"
wait "${pids[-1]}" && unset 'pids[-1]' # the login has ended by itself
expect "cert.pem was fetched" "ARGO TUNNEL TOKEN" "$(cat "$work/.adit/cert.pem")"

say "A tunnel, and the name that leads to it."
run adit tunnel create my-tunnel
run adit tunnel route dns my-tunnel app.example.com
run adit tunnel route dns my-tunnel tcp.example.com

say "What the connector serves: two web services, one of them as plain TCP too, and 404 for the rest."
cat >"$work/config.yml" <<YAML
tunnel: my-tunnel
ingress:
  - hostname: app.example.com
    path: ^/echo
    service: http://127.0.0.1:$ECHO
  - hostname: app.example.com
    service: http://127.0.0.1:$PAGE
  - hostname: tcp.example.com
    service: tcp://127.0.0.1:$PAGE
  - service: http_status:404
YAML
run cat "$work/config.yml"
start page.log $PYTHON services.py page $PAGE
start echo.log $PYTHON services.py echo $ECHO
until_ok curl -fs "http://127.0.0.1:$PAGE/"
until_ok curl -fs "http://127.0.0.1:$ECHO/"
run adit tunnel --config "$work/config.yml" ingress validate
start connector.log adit tunnel --config "$work/config.yml" --metrics "127.0.0.1:$READY" run my-tunnel
until_ok curl -fs "http://127.0.0.1:$READY/ready"
run adit tunnel info my-tunnel

say "A visitor: nothing listens on the service's side but loopback, yet the page is there."
visit() { run curl -sS --cacert "$ca" --resolve "*:$HTTPS:127.0.0.1" "$@"; }
answer=$(visit -D - "https://app.example.com:$HTTPS/")
printf '%s\n' "$answer"
expect "the page came over HTTP/2" "^HTTP/2 200" "$answer"
expect "the service's page" "Hello from behind the tunnel" "$answer"
expect "the visitor's address reached the service" "X-Forwarded-For: 127.0.0.1" "$answer"
expect "and that it came by HTTPS" "X-Forwarded-Proto: https" "$answer"
expect "and a request id" "Cf-Ray: [0-9a-f]{16}-" "$answer"

say "A WebSocket through the same name."
echoed=$(run $PYTHON websocket.py app.example.com "$HTTPS" "$ca" "hello, tunnel")
printf '%s\n' "$echoed"
expect "the echo came back" "hello, tunnel" "$echoed"

say "Any TCP service: its bytes travel as they are, here a request written by hand. ssh would use the same line as its ProxyCommand."
raw=$(printf 'GET /by-hand HTTP/1.0\r\n\r\n' | run adit access tcp --hostname "tcp.example.com:$HTTPS" --connect-to "127.0.0.1:$HTTPS")
printf '%s\n' "$raw" | head -n 4
expect "the service answered" "Hello from behind the tunnel" "$raw"

say "Which hop is broken, should one be?"
diag=$(cd "$work" && run adit tunnel --metrics "127.0.0.1:$READY" diag)
printf '%s\n' "$diag"
expect "every hop works" "works" "$diag"

say "A name the edge does not know."
unknown=$(visit -i "https://nobody.example.com:$HTTPS/")
printf '%s\n' "$unknown"
expect "404, and why" "Unknown host" "$unknown"
expect "status 404" "^HTTP/2 404" "$unknown"

say "Done: everything answered as it should."
