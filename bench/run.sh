#!/bin/sh
# Measures the targets and prints one line for each; all go to bench/results.txt.
# usage: [ONLY=P3,P4] [GUESTS=10] [PAIRS=3] [RUNS=3] bench/run.sh
set -eu
cd "$(dirname "$0")/.."
export CGO_ENABLED=0
exec go run ./bench -only "${ONLY:-}" -guests "${GUESTS:-3}" -pairs "${PAIRS:-3}" -runs "${RUNS:-3}"
