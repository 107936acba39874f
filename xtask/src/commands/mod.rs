//! One file per command.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod dev;
pub(crate) mod dist;
pub(crate) mod lint;
pub(crate) mod load;
mod native;
mod parts;
mod programs;
pub(crate) mod sandbox_agent;
pub(crate) mod script;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod test;
mod wrangler;

use anyhow::Result;

/// Reads the arguments of a command that has none but `--help`. `Ok(false)`: help was printed.
fn no_arguments(mut args: lexopt::Parser, help: &str) -> Result<bool> {
    match args.next()? {
        None => Ok(true),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => {
            println!("{help}");
            Ok(false)
        }
        Some(other) => Err(other.unexpected().into()),
    }
}
