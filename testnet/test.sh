#!/usr/bin/env bash
# Owns the whole check of a clone: set-up, every step of `cargo xtask ci` (format, lints, tidy, layers, licences,
# documents, build, tests), then the demo. CI runs this and nothing else. Build output goes to CARGO_TARGET_DIR.
# Exit code: 0 all passed, 1 something failed, 3 the machine lacks something (setup.sh says what).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset CARGO_MANIFEST_DIR # the check reads this clone, whatever started it

results=()
failed=0
started=$SECONDS

# step NAME COMMAND...: runs one step, remembers how it ended and how long it took.
step() {
  local name="$1" begun=$SECONDS code=0
  shift
  printf '\n### %s: %s\n' "$name" "$*"
  "$@" || code=$?
  if [ "$code" -eq 0 ]; then
    results+=("$(printf '%-8s passed  %4d s' "$name" "$((SECONDS - begun))")")
  else
    results+=("$(printf '%-8s FAILED  %4d s  exit code %d' "$name" "$((SECONDS - begun))" "$code")")
    failed=1
  fi
  return 0
}

testnet/setup.sh
step ci cargo xtask ci
if [ -e testnet/demo.sh ]; then
  step demo testnet/demo.sh --json
else
  results+=("$(printf '%-8s absent  testnet/demo.sh is not in the tree' demo)")
fi

printf '\n### result after %d s on %d cores\n' "$((SECONDS - started))" "$(nproc)"
printf '%s\n' "${results[@]}"
exit "$failed"
