#!/usr/bin/env bash
# Owns the demonstration: four validators from nothing, a service, two jobs, receipts, a killed validator, and a
# proof that a stranger checks with the network switched off. Every line it prints was computed in this run.
# Usage: testnet/demo.sh [--json] [--keep]; --json prints one JSON object as the last line of standard output,
# --keep leaves the network running. Exit code: 0 all shown, 1 something did not hold, 3 the machine lacks something.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
json=no keep=no
for arg in "$@"; do
  case "$arg" in
    --json) json=yes ;;
    --keep) keep=yes ;;
    *) echo "usage: testnet/demo.sh [--json] [--keep]" >&2; exit 2 ;;
  esac
done

say() { printf '\n== %s\n' "$*" >&2; }
show() { printf '$ %s\n' "$*" >&2; "$@" >&2; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# field JSON PATH: one value of a JSON document; a missing one ends the demo.
field() { jq --exit-status --raw-output "$2" <<<"$1"; }
now_ms() { date +%s%3N; }

testnet/setup.sh
say "build (the first time takes a while)"
# The whole workspace, so that dependencies have the same features as in the tests and are built once.
cargo build --quiet --locked --workspace --bins
target="${CARGO_TARGET_DIR:-$PWD/target}"
metanode="$target/debug/metanode"
work="$(mktemp -d "${TMPDIR:-/tmp}/metanode-demo.XXXXXX")"
cleanup() {
  if [ "$keep" = no ]; then
    "$metanode" testnet down --dir "$work/net" >/dev/null 2>&1 || true
    rm -rf "$work"
  fi
}
trap cleanup EXIT

say "the sample programs: static binaries and a WASM module built from this repository"
for sample in http_server primes_job; do
  rustc --edition 2024 -O -C target-feature=+crt-static "testnet/samples/$sample.rs" -o "$work/$sample"
done
show "$metanode" image pack "$work/http_server" --out "$work/http.oci"
show "$metanode" image pack "$work/primes_job" --out "$work/primes.oci"

say "four validators"
begin=$(now_ms)
up="$("$metanode" testnet up --validators 4 --dir "$work/net" -o json)"
up_ms=$(($(now_ms) - begin))
rpc="$(field "$up" ".nodes[0].rpc")"
genesis="$(field "$up" .genesis)"
export METANODE_RPC="$rpc"
show "$metanode" status
show "$metanode" get nodes

say "a job: count primes in a contained cage"
begin=$(now_ms)
job="$("$metanode" deploy primes --job --image "oci:$work/primes.oci" --wait -o json -- 100000)"
first_ms=$(($(now_ms) - begin))
show "$metanode" logs primes
say "a WASM job, and a service with two replicas"
show "$metanode" deploy fibonacci --job --image wasm:testnet/samples/fibonacci.wat --wait
show "$metanode" deploy web --image "oci:$work/http.oci" --replicas 2 --env GREETING=hello \
  --health-port 8000 --health-path /healthz --wait
show "$metanode" get deployments
show "$metanode" explain web
show "$metanode" receipts primes

say "one validator is killed; the chain goes on"
before="$(field "$("$metanode" status -o json)" .height)"
show "$metanode" testnet kill 3 --dir "$work/net"
show "$metanode" transfer 0x0000000000000000000000000000000000000000000000000000000000000001 1 --wait
after="$(field "$("$metanode" status -o json)" .height)"
[ "$after" -gt "$before" ] || fail "the chain stood still at height $after"
show "$metanode" testnet start 3 --dir "$work/net"

say "a proof for the job's execution"
receipts="$("$metanode" receipts primes -o json)"
receipt="$(field "$receipts" '[.[] | select(.receipt.body.action.action == "exited")][0].id')"
show "$metanode" proofs export "$receipt" --out "$work/proof.bin"
show "$metanode" mining status
stats="$("$metanode" ledger stats -o json)"

say "the network is switched off; a stranger verifies with the genesis file alone"
cp "$genesis" "$work/genesis.json"
"$metanode" testnet down --dir "$work/net" >&2
mkdir "$work/stranger"
cp "$work/proof.bin" "$work/genesis.json" "$work/stranger/"
offline=()
# A network namespace of its own proves that nothing is asked; without the right to make one, say so.
if unshare -rn true 2>/dev/null; then offline=(unshare -rn); else echo "(no network namespaces here)" >&2; fi
begin=$(now_ms)
(cd "$work/stranger" && show "${offline[@]}" "$metanode" proofs verify proof.bin --genesis genesis.json)
verify_ms=$(($(now_ms) - begin))
printf 'core bundle: %s bytes\n' "$(stat -c %s "$work/proof.bin")" >&2

say "one flipped byte"
rejected=0
size="$(stat -c %s "$work/proof.bin")"
for at in $((size / 4)) $((size / 2)) $((size * 3 / 4)); do
  cp "$work/proof.bin" "$work/stranger/tampered.bin"
  byte="$(od -An -tu1 -j "$at" -N 1 "$work/proof.bin" | tr -d ' ')"
  printf "\\x$(printf '%02x' $((byte ^ 1)))" |
    dd of="$work/stranger/tampered.bin" bs=1 seek="$at" conv=notrunc status=none
  code=0
  (cd "$work/stranger" && "${offline[@]}" "$metanode" proofs verify tampered.bin --genesis genesis.json) \
    >"$work/tampered.log" 2>&1 || code=$?
  [ "$code" -eq 1 ] || fail "the bundle with byte $at flipped gave exit code $code"
  tail -n 2 "$work/tampered.log" >&2
  rejected=$((rejected + 1))
done

summary="{\"validators\":4,\"height\":$(field "$stats" .height),\"deployments\":3"
summary+=",\"receipts\":$(field "$stats" .receipts),\"verified\":1,\"tampered_rejected\":$rejected"
summary+=",\"seconds\":{\"up\":$(printf '%d.%03d' $((up_ms / 1000)) $((up_ms % 1000)))"
summary+=",\"first_job\":$(printf '%d.%03d' $((first_ms / 1000)) $((first_ms % 1000)))"
summary+=",\"verify\":$(printf '%d.%03d' $((verify_ms / 1000)) $((verify_ms % 1000)))}}"
say "done: the job ran, its receipt verified offline, $rejected tampered bundles were rejected"
if [ "$json" = yes ]; then printf '%s\n' "$summary"; else printf '%s\n' "$summary" >&2; fi
