#!/bin/sh
# Offers this machine to coding-agent sessions. The settings are those of `logseq-runner --help` (docs/runner.md).
set -eu
built="$(dirname -- "$0")/../target/release/logseq-runner"
runner="${LOGSEQ_RUNNER:-logseq-runner}"
if ! command -v "$runner" > /dev/null && [ -x "$built" ]; then runner="$built"; fi
exec "$runner" run "$@"
