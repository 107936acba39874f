#!/bin/sh
# Links with the system's C compiler, which is installed first when it is missing (Debian and its relatives).
set -eu

command -v cc >/dev/null 2>&1 && exec cc "$@"

packages="gcc libc6-dev"
say() { echo "$*" >&2; { echo "$*" >/dev/tty; } 2>/dev/null || true; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif ! command -v sudo >/dev/null 2>&1; then return 1
    elif { : >/dev/tty; } 2>/dev/null; then sudo "$@"
    else sudo -n "$@"
    fi
}

install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    as_root apt-get install -y --no-install-recommends $packages >&2 ||
        { as_root apt-get update >&2 && as_root apt-get install -y --no-install-recommends $packages >&2; }
}

# Several links may start at once: the first one installs, the others wait for it.
lock="${TMPDIR:-/tmp}/logseq-workers-linker-$(id -u).lock"
(
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    command -v cc >/dev/null 2>&1 && exit 0
    say "==> No C compiler (cc) found: installing $packages"
    install || {
        say "error: a C compiler is needed to link and could not be installed. Run:"
        say "  sudo apt-get update && sudo apt-get install -y $packages"
        exit 1
    }
) 9>"$lock"
exec cc "$@"
