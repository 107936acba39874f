//! The binary `logseq-runner`.

use std::process::ExitCode;

fn main() -> ExitCode {
    logseq_runner::cli::main()
}
