#!/usr/bin/env bash
# Imports the two images that the Dockerfile builds on, under the names that it gives them, into an engine
# that has no network and so pulls nothing:
#
# - debian:bookworm-slim, which debootstrap makes. It has ca-certificates and git already and no package
#   sources, so the Dockerfile's `apt-get` lines run and find nothing left to do.
# - rust:1.95-slim-bookworm, the same Debian with a C compiler and this machine's Rust toolchain. The crates
#   that Cargo.lock names lie in it, and cargo takes them from there: the compile stage compiles all of them.
#
#   bases.sh WORK    (DOCKER_HOST names the engine; wants root, debootstrap and cargo)
set -euo pipefail
work=$1/bases
here=$(dirname "$0")
root=$work/root
mkdir -p "$work"

debootstrap --variant=minbase --include=ca-certificates,git bookworm "$root" "$(bash "$here/mirror.sh")" \
    >"$work/debootstrap.log" 2>&1 || {
    tail -n 5 "$work/debootstrap.log"
    exit 1
}
chroot "$root" apt-get clean
sources=$(cat "$root/etc/apt/sources.list")
: >"$root/etc/apt/sources.list"
rm -rf "$root"/var/lib/apt/lists/*
tar --directory "$root" --create . | docker import - debian:bookworm-slim >/dev/null

echo "$sources" >"$root/etc/apt/sources.list"
{
    chroot "$root" apt-get update --quiet --quiet
    DEBIAN_FRONTEND=noninteractive chroot "$root" \
        apt-get install --quiet --quiet --yes --no-install-recommends gcc libc6-dev
} >"$work/apt.log" 2>&1 || {
    tail -n 5 "$work/apt.log"
    exit 1
}
toolchain=$(rustc --print sysroot)
cargo_home=$root/usr/local/cargo
mkdir -p "$root/usr/local/rust" "$cargo_home"
cp -a "$toolchain"/{bin,lib} "$root/usr/local/rust/"
cargo vendor --quiet --locked --manifest-path "$here/../../Cargo.toml" "$cargo_home/crates" >/dev/null
cat >"$cargo_home/config.toml" <<'TOML'
[source.crates-io]
replace-with = "crates"
[source.crates]
directory = "/usr/local/cargo/crates"
TOML
tar --directory "$root" --create . |
    docker import --change 'ENV PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/local/cargo' \
        - rust:1.95-slim-bookworm >/dev/null
rm -rf --one-file-system "$work"
