#!/usr/bin/env bash
# Puts Docker's compose v2 into DIR/cli-plugins, for machines whose Debian is too old to have it: `docker`
# finds it there with DOCKER_CONFIG=DIR. It is the one of the next Debian (trixie), fetched through an apt
# root of its own, so that nothing of that release gets onto this machine; it wants a libc of 2.34 or newer.
#
#   compose-v2.sh DIR
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1")
plugin=$dir/cli-plugins/docker-compose
[ ! -x "$plugin" ] || exit 0

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/etc/apt/{sources.list.d,preferences.d,apt.conf.d,trusted.gpg.d} "$root/var/lib/dpkg" \
    "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"
touch "$root/var/lib/dpkg/status"
mirror=$(bash "$(dirname "$0")/mirror.sh")
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
    >"$root/etc/apt/sources.list"
apt_there() {
    apt-get --option "Dir=$root" --option "Dir::State::status=$root/var/lib/dpkg/status" \
        --option APT::Sandbox::User=root "$@"
}
apt_there update --quiet --quiet
cd "$root"
apt_there download --quiet --quiet docker-compose
dpkg --extract docker-compose_*.deb unpacked
install -D -m 755 unpacked/usr/libexec/docker/cli-plugins/docker-compose "$plugin.new"
mv "$plugin.new" "$plugin"
