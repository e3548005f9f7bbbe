#!/usr/bin/env bash
# Runs coordinator and worker in their images' roots without an engine, and has a task done. Called by
# ../test.sh in mount, process and network namespaces of its own, so nothing of it outlives it.
#
#   by-hand.sh WORK    (holds binary/, tools/ and secrets/)
set -euo pipefail
work=$1
here=$(dirname "$0")
user=65532

fail() {
    echo "FAILED: $*"
    tail -n 20 "$work"/*.log
    exit 1
}

ip link set lo up
mount --make-rprivate /

# `coordinator`: the binary and a directory for data; read-only but for that.
coordinator=$work/coordinator
install -D -m 0755 "$work/binary/ganger" "$coordinator/ganger"
mkdir -p "$coordinator"/{dev,proc,run/secrets,var/lib/ganger} "$work/board"
touch "$coordinator/run/secrets/ganger-token"
install -d -m 0700 -o $user -g $user "$work/board"
mount --bind "$coordinator" "$coordinator"
# As every engine gives them: a static binary gets its random bytes from /dev/urandom.
mount --rbind /dev "$coordinator/dev"
mount -t proc proc "$coordinator/proc"
mount --bind "$work/secrets/ganger-token" "$coordinator/run/secrets/ganger-token"
mount -o remount,bind,ro "$coordinator"
mount --bind "$work/board" "$coordinator/var/lib/ganger"

# `worker`: the same on Debian.
worker=$work/worker
cp -a "$work/tools" "$worker"
install -m 0755 "$work/binary/ganger" "$worker/ganger"
mkdir -p "$worker/old"
touch "$worker/run/secrets/ganger-token"
install -d -m 0700 -o $user -g $user "$worker/var/lib/ganger" "$worker/tmp"
mount --bind "$worker" "$worker"
for dir in bin sbin lib lib64 libexec share; do
    [ ! -d "/usr/$dir" ] || mount --rbind -o ro "/usr/$dir" "$worker/usr/$dir"
done
mount --bind "$work/secrets/ganger-token" "$worker/run/secrets/ganger-token"
mount --rbind /dev "$worker/dev"
mount -t proc proc "$worker/proc"

# In an empty environment, as the images' user: ENV of the Dockerfile and the token's file, no more. Both
# replace the shell that calls them, so that a signal meets the program: call them in one of their own.
in_coordinator() {
    exec env -i GANGER_ADDR=0.0.0.0:50051 GANGER_DATA_DIR=/var/lib/ganger "$@"
}
ganger_here=(setpriv --no-new-privs "$(command -v chroot)" "--userspec=$user:$user" --groups= "$coordinator" /ganger)
token=GANGER_TOKEN_FILE=/run/secrets/ganger-token

in_worker() {
    # A chroot would do for a client, but the kernel refuses user namespaces to who is in one.
    # shellcheck disable=SC2016 # the inner shell expands it
    exec unshare --mount bash -c '
        cd "$1" && pivot_root . old && umount --lazy /old && shift
        exec setpriv --reuid='$user' --regid='$user' --clear-groups --bounding-set=-all --no-new-privs \
            env -i PATH=/usr/local/bin:/usr/bin:/bin GANGER_ADDR=127.0.0.1:50051 '$token' \
            GANGER_WORKER_DATA_DIR=/var/lib/ganger/worker "$@"' in-worker "$worker" "$@"
}

start_coordinator() {
    in_coordinator $token "${ganger_here[@]}" coordinator 2>>"$work/coordinator.log" &
    coordinator_pid=$!
    for _ in $(seq 100); do
        if (in_coordinator $token "${ganger_here[@]}" healthcheck --service readiness) >/dev/null 2>&1; then
            return
        fi
        kill -0 $coordinator_pid 2>/dev/null || break
        sleep 0.1
    done
    fail "the coordinator does not serve"
}

# It ends with 0 within the grace that orchestrators give.
stop() {
    kill -TERM "$2"
    local code=0
    wait "$2" || code=$?
    [ $code = 0 ] || fail "$1 ended with $code at SIGTERM"
    echo "$1 ended with 0 at SIGTERM"
}

if (in_coordinator "${ganger_here[@]}" coordinator) 2>"$work/refusal.log"; then
    fail "a coordinator listens beyond loopback without a token"
fi
grep --quiet -e --token-file "$work/refusal.log" || fail "the refusal doesn't name --token-file"

start_coordinator
in_worker /ganger worker --name by-hand 2>"$work/worker.log" &
worker_pid=$!
for _ in $(seq 100); do
    workers=$(in_worker ganger -o json fleet workers 2>/dev/null || true)
    case $workers in *by-hand*) break ;; esac
    kill -0 $worker_pid 2>/dev/null || fail "the worker ended"
    sleep 0.1
done
done_by=$(in_worker ganger run --type shell 'id --user; ls /; git --version')
echo "$done_by"
case $done_by in 1000*workspace*git*) ;; *) fail "that is not what a sandbox shows" ;; esac

install -m 0644 "$here/../fleet-demo.sh" "$worker/fleet-demo.sh"
(in_worker sh /fleet-demo.sh) >"$work/fleet-demo.log" || fail "fleet-demo.sh"
tail -n 5 "$work/fleet-demo.log"

stop worker $worker_pid
stop coordinator $coordinator_pid
start_coordinator
(in_worker ganger task show 1) >/dev/null || fail "the board was lost"
echo "the board is there after a restart"
stop coordinator $coordinator_pid
