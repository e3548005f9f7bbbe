#!/usr/bin/env bash
# Builds the images' last stages in a real engine, starts the services of ../compose.yaml with exactly
# their options, and has tasks done. Called by ../test.sh.
#
# The engine is one of its own, in a network namespace of its own and with its data in WORK, so that the
# machine's stays as it is. It pulls nothing: compiler and Debian are stood in for by what WORK holds.
#
#   engine.sh WORK    (holds binary/, tools/ and secrets/)
set -euo pipefail
work=$1
deploy=$(realpath "$(dirname "$0")/..")
export DOCKER_HOST=unix://$work/engine/sock DOCKER_BUILDKIT=0
mkdir -p "$work/engine"

fail() {
    echo "FAILED: $*"
    for name in coordinator worker-1 worker-2; do
        docker logs --tail 15 $name 2>&1 | sed "s/^/$name: /" || true
    done
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
    echo "NOT RUN: no container engine can be started here; the roots by hand stand in for it:"
    tail -n 3 "$work/engine/log"
    exit 0
fi
docker info --format 'engine {{.ServerVersion}}, cgroup v{{.CgroupVersion}}, {{.SecurityOptions}}'

# The last two stages of the Dockerfile, on stand-ins for the stages before them.
tar --directory "$work/binary" --create . | docker import - stage-binary >/dev/null
tar --directory "$work/tools" --create . | docker import - stage-tools >/dev/null
mkdir "$work/context"
{
    echo "FROM stage-binary AS binary"
    echo "FROM stage-tools AS tools"
    sed -n '/^FROM tools AS worker$/,$p' "$deploy/Dockerfile"
} >"$work/context/Dockerfile"
for image in coordinator worker; do
    docker build --target $image --tag ganger-$image "$work/context" >"$work/build.log" 2>&1 ||
        fail "$image: $(cat "$work/build.log")"
done
docker images --format '{{.Repository}} {{.Size}}' | grep ganger-

# What the first stage compiles is all there, past .dockerignore.
printf 'FROM scratch\nCOPY . /\n' >"$work/context/Dockerfile.sources"
docker build --file "$work/context/Dockerfile.sources" --tag sources "$deploy/.." >"$work/build.log" 2>&1 ||
    fail "sources: $(cat "$work/build.log")"
docker export "$(docker create sources none)" | tar --list | sed 's|^|./|' >"$work/sources"
(cd "$deploy/.." && find ./Cargo.* ./proto ./coordinator ./worker ./cli ./tests ./deploy/*.toml -type f) |
    grep --invert-match --fixed-strings --line-regexp --file "$work/sources" >"$work/missing" &&
    fail "not in the build's context: $(head "$work/missing")"
grep --quiet '^./target' "$work/sources" && fail "target is in the build's context"

# The services, on a compose.yaml that lies beside this run's token.
cp -r "$deploy" "$work/deploy"
rm -rf "$work/deploy/secrets"
cp -r "$work/secrets" "$work/deploy/secrets"
docker network create ganger_default >/dev/null
# What the stand-in for Debian lacks. Not /usr/sbin: it would cover the engine's init.
usr=()
for dir in bin lib lib64 libexec share; do
    [ ! -d "/usr/$dir" ] || usr+=("--volume=/usr/$dir:/usr/$dir:ro")
done

# run SERVICE ARGUMENT…: `docker run` with the service's own options after these.
run() {
    local service=$1 options
    shift
    /usr/bin/python3 "$deploy/test/compose_run.py" "$work/deploy/compose.yaml" "$service" >"$work/options"
    mapfile -t options <"$work/options"
    docker run "$@" "${options[@]}"
}

run coordinator --detach --name coordinator >/dev/null
for _ in $(seq 100); do
    health=$(docker inspect --format '{{.State.Health.Status}}' coordinator)
    [ "$health" != healthy ] || break
    sleep 0.2
done
[ "$health" = healthy ] || fail "the coordinator is $health"
for number in 1 2; do
    run worker --detach --name worker-$number --hostname worker-$number "${usr[@]}" >/dev/null
done
for _ in $(seq 100); do
    workers=$(docker exec coordinator /ganger -o json fleet workers)
    case $workers in *worker-1*worker-2* | *worker-2*worker-1*) break ;; esac
    sleep 0.2
done
docker exec coordinator /ganger fleet workers

# A sandboxed sub-agent of a worker without any capability or privilege, under the filter.
docker exec worker-1 ganger run --type shell \
    'id --user; grep -E "^(CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; ls /; cat /proc/net/dev' |
    tee "$work/seen"
for line in 1000 $'CapBnd:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2' workspace; do
    grep --quiet --line-regexp "$line" "$work/seen" || fail "the sub-agent doesn't see $line"
done
if docker exec worker-1 ganger run --type shell 'unshare --user true' 2>/dev/null; then
    fail "a sub-agent makes a namespace"
fi

# What the filter leaves out is refused: keyctl but for one use, io_uring, vsock, ptrace, bpf. By their
# numbers, which are those of x86-64.
if [ "$(uname -m)" = x86_64 ]; then
    docker exec worker-1 perl -e '
        my %calls = (keyctl => [250, 0, 0], io_uring_setup => [425, 1, 0], vsock => [41, 40, 1, 0],
            ptrace => [101, 0, 0, 0, 0], bpf => [321, 0, 0, 0]);
        for (sort keys %calls) {
            my $result = syscall($calls{$_}[0], @{$calls{$_}}[1 .. $#{$calls{$_}}]);
            die "$_ is let through: $result, $!\n" unless $result == -1 && ($!{EPERM} || $!{ENOSYS});
        }
        ' || fail "the filter"
    if docker exec worker-1 perl -e 'syscall(0x40000000 + 39)' 2>/dev/null; then
        fail "the filter lets calls of another architecture through"
    fi
    echo "the filter holds"
fi

# By an engine's own defaults there is no sandbox, and the worker says what it wants.
if docker run --rm --network none "${usr[@]}" ganger-worker demo --repo /etc >"$work/refusal" 2>&1; then
    fail "the demo runs under the engine's defaults"
fi
grep --quiet "worker-seccomp.json" "$work/refusal" || fail "the refusal doesn't name the profile: $(cat "$work/refusal")"

run fleet-demo --rm "${usr[@]}" >"$work/fleet-demo.log" || fail "fleet-demo: $(cat "$work/fleet-demo.log")"
tail -n 5 "$work/fleet-demo.log"
GANGER_REPO=$deploy run demo --rm "${usr[@]}" >"$work/demo.log" 2>&1 || fail "demo: $(cat "$work/demo.log")"
tail -n 1 "$work/demo.log"

for name in worker-1 worker-2 coordinator; do
    docker stop $name >/dev/null
    code=$(docker inspect --format '{{.State.ExitCode}}' $name)
    [ "$code" = 0 ] || fail "$name ended with $code at docker stop"
done
echo "all ended with 0 at docker stop"
