#!/usr/bin/env bash
# Builds the images in a real engine with the real compose, has every command line of README.md and of
# ../compose.yaml run as it stands there, and looks at what the containers hold. Called by ../test.sh.
#
# The engine is one of its own, in a network namespace of its own and with its data in WORK, so that the
# machine's stays as it is. It pulls nothing: bases.sh says what it builds on. Leaves the binary that
# it compiled as WORK/binary/ganger.
#
#   engine.sh WORK    (DOCKER_CONFIG names a directory with compose v2 as a plugin)
set -euo pipefail
work=$(realpath "$1")
deploy=$(realpath "$(dirname "$0")/..")
export DOCKER_HOST=unix://$work/engine/sock
repository=$work/repository
mkdir -p "$work/engine" "$repository"

fail() {
    echo "FAILED: $*"
    docker compose --file "$repository/deploy/compose.yaml" logs --tail 15 2>&1 || true
    exit 1
}

# In a mount namespace of its own its mounts end with it, however it ends.
# shellcheck disable=SC2016 # the inner shell expands it
unshare --net --mount bash -c '
    ip link set lo up
    exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/sock"
' dockerd "$work/engine" >"$work/engine/log" 2>&1 &
engine=$!
stop_engine() {
    docker ps --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null 2>&1 || true
    kill $engine 2>/dev/null || true
    wait $engine || true
}
trap stop_engine EXIT
for _ in $(seq 150); do
    if docker version >/dev/null 2>&1; then break; fi
    kill -0 $engine 2>/dev/null || break
    sleep 0.2
done
if ! docker version >/dev/null 2>&1; then
    echo "no container engine can be started here:"
    tail -n 3 "$work/engine/log"
    exit 3
fi
docker info --format 'engine {{.ServerVersion}}, cgroup v{{.CgroupVersion}}, {{.SecurityOptions}}'

bash "$deploy/test/bases.sh" "$work"
docker images --format '{{.Repository}}:{{.Tag}} {{.Size}}'

# The repository as a clone has it: what git knows of, and nothing built.
(cd "$deploy/.." && git ls-files -z --cached --others --exclude-standard |
    tar --null --files-from - --ignore-failed-read --create) | tar --directory "$repository" --extract
cd "$repository"

# lines_of FILE: the command lines that FILE shows for containers, each on a line of its own.
lines_of() {
    case $1 in
        *.md) awk '/^```/ { if (in_block && block ~ /docker compose/) printf "%s", block; in_block = /^```sh/; block = ""; next }
            in_block { block = block $0 "\n" }' "$1" ;;
        *) sed --quiet 's/^#   \([a-z].*\)$/\1/p' "$1" ;;
    esac
}
for document in README.md deploy/compose.yaml; do
    lines_of $document >"$work/lines"
    grep --quiet 'up --build --detach --wait' "$work/lines" || fail "$document shows no way to start the services"
    while IFS= read -r line; do
        echo "\$ $line"
        bash -c "set -euo pipefail; $line" </dev/null >"$work/output" 2>&1 || {
            tail -n 40 "$work/output"
            fail "$document: $line"
        }
        tail -n 3 "$work/output"
    done <"$work/lines"
    [ $document = deploy/compose.yaml ] ||
        docker compose --file deploy/compose.yaml --profile demo down --volumes >"$work/output" 2>&1 ||
        fail "down: $(cat "$work/output")"
done
compose() { docker compose --file "$repository/deploy/compose.yaml" "$@"; }

# What the first stage compiled, for the tests that want a static binary.
mkdir -p "$work/binary"
docker cp "$(compose ps --quiet coordinator)":/ganger "$work/binary/ganger"

# A sandboxed sub-agent of a worker without any capability or privilege, under the filter.
compose exec worker ganger run --type shell \
    'id --user; grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; ls /; cat /proc/net/dev' \
    </dev/null | tr -d '\r' | tee "$work/seen"
for line in 1000 $'CapBnd:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2' workspace; do
    grep --quiet --line-regexp "$line" "$work/seen" || fail "the sub-agent doesn't see $line"
done
if compose exec worker ganger run --type shell 'unshare --user true' </dev/null 2>/dev/null; then
    fail "a sub-agent makes a namespace"
fi

# What the filter leaves out is refused: keyctl but for one use, io_uring, vsock, ptrace, bpf. By their
# numbers, which are those of x86-64.
if [ "$(uname -m)" = x86_64 ]; then
    # shellcheck disable=SC2016 # the variables are perl's
    compose exec worker perl -e '
        my %calls = (keyctl => [250, 0, 0], io_uring_setup => [425, 1, 0], vsock => [41, 40, 1, 0],
            ptrace => [101, 0, 0, 0, 0], bpf => [321, 0, 0, 0]);
        for (sort keys %calls) {
            my $result = syscall($calls{$_}[0], @{$calls{$_}}[1 .. $#{$calls{$_}}]);
            die "$_ is let through: $result, $!\n" unless $result == -1 && ($!{EPERM} || $!{ENOSYS});
        }
        ' </dev/null || fail "the filter"
    if compose exec worker perl -e 'syscall(0x40000000 + 39)' </dev/null 2>/dev/null; then
        fail "the filter lets calls of another architecture through"
    fi
    echo "the filter holds"
fi

# By an engine's own defaults there is no sandbox, and the worker says what it wants.
if docker run --rm --network none ganger-worker demo --repo /etc >"$work/refusal" 2>&1; then
    fail "the demo runs under the engine's defaults"
fi
grep --quiet "worker-seccomp.json" "$work/refusal" || fail "the refusal doesn't name the profile: $(cat "$work/refusal")"

# The documented mode of the token's file is right, in the container and beside it.
compose exec worker ganger doctor </dev/null >"$work/doctor" 2>&1 || fail "doctor: $(cat "$work/doctor")"
"$work/binary/ganger" doctor --token-file deploy/secrets/ganger-token --addr 127.0.0.1:1 >"$work/doctor" 2>&1 || true
grep --quiet 'token file.*keeps others out' "$work/doctor" || fail "doctor: $(cat "$work/doctor")"

containers=$(compose ps --quiet worker coordinator)
for container in $containers; do
    docker stop "$container" >/dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
    [ "$code" = 0 ] || fail "$container ended with $code at docker stop"
done
echo "all ended with 0 at docker stop"
