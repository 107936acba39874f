//! The binary `logseq-sync`.

use std::process::ExitCode;

fn main() -> ExitCode {
    logseq_sync::cli::main()
}
