#!/bin/sh
# Starts a local sandbox-agent alone. SANDBOX_AGENT_URL, or SANDBOX_AGENT_HOST and SANDBOX_AGENT_PORT, say where.
set -eu
built="$(dirname -- "$0")/../target/release/logseq-runner"
runner="${LOGSEQ_RUNNER:-logseq-runner}"
if ! command -v "$runner" > /dev/null && [ -x "$built" ]; then runner="$built"; fi
SANDBOX_AGENT_URL="${SANDBOX_AGENT_URL:-http://${SANDBOX_AGENT_HOST:-127.0.0.1}:${SANDBOX_AGENT_PORT:-2468}}"
SANDBOX_AGENT_REPO="${SANDBOX_AGENT_REPO:-$HOME/Codes/projects/sandbox-agent}"
export SANDBOX_AGENT_URL SANDBOX_AGENT_REPO
exec "$runner" sandbox-agent "$@"
