#!/usr/bin/env bash
# Prints the mirror that this machine's apt takes Debian from.
set -euo pipefail
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true; } |
    sed --quiet --regexp-extended 's#^(URIs:|deb( \[[^]]*\])?) +(https?://[^ ]+/debian)/?( .*)?$#\3#p' | sed 1q)
[ -n "$mirror" ] || {
    echo "apt's sources name no mirror of Debian" >&2
    exit 1
}
echo "$mirror"
