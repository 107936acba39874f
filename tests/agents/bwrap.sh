#!/bin/sh
# A stand-in of bubblewrap for machines that have none: the same words, and a mount namespace of this user's alone. Unlike the real one it leaves the
# processes of the wall among those outside, so that it proves nothing about their end.
set -e
root=$(mktemp -d "${HOME:-/tmp}/wall-XXXXXX")
plan="$root.plan"
: > "$plan"
info=
chdir=/
while [ "$1" != -- ]; do
  case "$1" in
    --unshare-*|--new-session|--clearenv) shift ;;
    --info-fd) info=$2; shift 2 ;;
    --proc) echo "/proc $2" >> "$plan"; shift 2 ;;
    --dev) echo "/dev $2" >> "$plan"; shift 2 ;;
    --tmpfs) echo "tmpfs $2" >> "$plan"; shift 2 ;;
    --ro-bind|--bind) echo "$2 $3" >> "$plan"; shift 3 ;;
    --chdir) chdir=$2; shift 2 ;;
    *) echo "unknown word $1" >&2; exit 64 ;;
  esac
done
shift
if [ -n "$info" ]; then
  eval "printf '{\"child-pid\": %s}' \$\$ >&$info; exec $info>&-"
fi
export root plan chdir
exec unshare --user --map-root-user --mount sh -c '
  set -e
  mount -t tmpfs tmpfs "$root"
  while read -r from to; do
    at="$root$to"
    if [ "$from" = tmpfs ]; then
      mkdir -p "$at"
      mount -t tmpfs tmpfs "$at"
    elif [ -d "$from" ]; then
      mkdir -p "$at"
      mount --rbind "$from" "$at"
    else
      mkdir -p "${at%/*}"
      [ -e "$at" ] || : > "$at"
      mount --bind "$from" "$at"
    fi
  done < "$plan"
  rm "$plan"
  exec chroot "$root" /usr/bin/env -i -C "$chdir" PATH=/usr/bin:/bin "$@"
' sh "$@"
