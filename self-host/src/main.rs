//! The binary `logseq-sync`.

use std::process::ExitCode;

/// Transactions allocate many small pieces, and the allocator of static binaries is the slowest of all.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    logseq_sync::cli::main()
}
