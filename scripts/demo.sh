#!/bin/sh
# Starts a server with real virtual machines, shows a first scale set, and stays
# until Ctrl-C, which ends the machines and removes everything they needed.
# usage: demo.sh [STATE_DIR]
set -eu
cd "$(dirname "$0")/.."
state=${1:-$PWD/.cache/demo}
port=${MUSTER_DEMO_PORT:-8443}
muster=bin/muster

cleanup() {
	trap '' INT TERM
	trap - EXIT
	echo
	echo "stopping the machines and removing their network..."
	if [ -n "${server:-}" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	$muster down --state "$state" || true
	[ -z "${tail_pid:-}" ] || kill "$tail_pid" 2>/dev/null || true
}

# A demo that was cut short may have left machines behind: begin afresh.
if [ -d "$state" ]; then
	$muster down --state "$state" >/dev/null 2>&1 || true
	rm -rf "$state"
fi
mkdir -p -m 700 "$state"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cat >"$state/config.yaml" <<EOF
images:
  tiny: $PWD/.cache/tiny
EOF
# setsid keeps the terminal's Ctrl-C to this script, which ends things in order.
setsid $muster serve --state "$state" --listen "127.0.0.1:$port" --driver qemu --config "$state/config.yaml" \
	>"$state/server.out" 2>"$state/server.log" </dev/null &
server=$!
while ! grep -q '^ready ' "$state/server.out" 2>/dev/null; do
	if ! kill -0 "$server" 2>/dev/null; then
		echo "the server did not start:" >&2
		tail -n 20 "$state/server.log" >&2
		exit 1
	fi
	sleep 0.1
done
grep '^ready ' "$state/server.out"
$muster demo --state "$state" --endpoint "https://localhost:$port"
echo
echo "The server's log is $state/server.log. Ctrl-C ends the demo."
[ -n "${MUSTER_DEMO_ONCE:-}" ] || wait "$server"
