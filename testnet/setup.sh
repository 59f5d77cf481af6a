#!/usr/bin/env bash
# Owns what a Debian or Ubuntu machine needs before this repository builds: checks the Rust version and the system
# packages, installs the missing packages when it runs as root, and otherwise prints the command that would.
# Changes nothing on a machine that has everything. Usage: testnet/setup.sh [--with-benches]
# Exit code: 0 ready, 2 wrong usage, 3 something is missing and could not be installed.
set -euo pipefail

readonly RUST_MIN="1.95.0"

# One line per package and the reason it is needed; what the tree stops needing leaves this list.
packages=(
  ca-certificates # crates are fetched over https
  clang           # librocksdb-sys: headers that bindgen reads
  fuse3           # the disk test mounts its own file system that loses unsynced writes
  g++             # librocksdb-sys: RocksDB is C++
  git             # xtask tidy asks git which files are committed
  iproute2        # partition tests put real processes into network namespaces
  jq              # the demo reads JSON answers
  libclang-dev    # bindgen loads libclang at build time
)
case "${1:-}" in
  "") ;;
  --with-benches) packages+=(bubblewrap) ;; # the cage bench compares with it side by side
  *) echo "usage: testnet/setup.sh [--with-benches]" >&2; exit 2 ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }

check_rust() {
  if ! command -v rustc >/dev/null || ! command -v cargo >/dev/null; then
    say "Rust is missing. Next step: install rustup (https://rustup.rs), then: rustup toolchain install stable"
    exit 3
  fi
  local have
  have="$(rustc --version | cut -d' ' -f2 | cut -d- -f1)"
  if [ "$(printf '%s\n%s\n' "$RUST_MIN" "$have" | sort -V | head -n 1)" != "$RUST_MIN" ]; then
    say "rustc $have is too old; $RUST_MIN is the oldest that builds this. Next step: rustup update stable"
    exit 3
  fi
  local component
  for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
      say "cargo $component is missing. Next step: rustup component add rustfmt clippy"
      exit 3
    fi
  done
}

# Prints the packages that are not installed, one a line.
missing_packages() {
  local package
  for package in "${packages[@]}"; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" != "installed" ]; then
      printf '%s\n' "$package"
    fi
  done
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -eq 0 ]; then
    return 0
  fi
  if [ "$(id -u)" -ne 0 ]; then
    say "missing packages: ${missing[*]}. Next step:"
    printf 'sudo apt-get install --yes --no-install-recommends %s\n' "${missing[*]}"
    exit 3
  fi
  say "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
  # Package lists may be older than the archive, or absent: one refresh, then a second and last attempt.
  if ! "${install[@]}" >&2; then
    apt-get update --quiet >&2
    "${install[@]}" >&2
  fi
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -ne 0 ]; then
    say "still missing after the installation: ${missing[*]}"
    exit 3
  fi
}

check_rust
if ! command -v dpkg-query >/dev/null; then
  say "this is not a Debian or Ubuntu machine; install the equivalents of: ${packages[*]}"
  exit 3
fi
install_packages
say "ready: rustc $(rustc --version | cut -d' ' -f2), ${#packages[@]} packages present"
