#!/bin/sh
# The same as start-local-runner-daemon.sh, always through a tunnel.
set -eu
RUNNER_TRANSPORT=tunnel
export RUNNER_TRANSPORT
exec "$(dirname -- "$0")/start-local-runner-daemon.sh" "$@"
