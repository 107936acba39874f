//! What is asked for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use lexopt::ValueExt as _;

const HELP: &str = "\
Open N sockets on M graphs of a server, write into each graph, and measure. Fails when a socket ends, a batch is refused, or
clients, server and stored checksums do not agree at the end.

Usage: load (--binary FILE | --base-url URL --token T) [OPTIONS]

  --binary FILE       logseq-sync, started over data of its own
  --data DIR          where that data lies (default: the system's temporary folder)
  --base-url URL      a running server, with an empty index or not; its limits of sockets must allow what is asked for
  --token T           token of one of its users
  --admin-token T     its operator's token: without it nothing is said of syncs and memory
  --sockets N         sockets in all (default 1000)
  --graphs M          graphs (default 20); the first socket of each writes
  --seconds S         how long (default 30)
  --rate R            batches a second and graph (default: the next one as soon as one is acknowledged)
  --batch N           transactions of a batch (default 1)
  --idle              nobody writes until the time is over; then each graph gets one batch
  --max-memory MIB    fail when the server's memory was larger";

/// Options.
pub(crate) struct Options {
    pub(crate) binary: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) base_url: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) admin_token: Option<String>,
    pub(crate) sockets: usize,
    pub(crate) graphs: usize,
    pub(crate) time: Duration,
    /// Time from one batch of a graph to the next.
    pub(crate) pause: Duration,
    pub(crate) batch: u64,
    pub(crate) idle: bool,
    /// In MiB.
    pub(crate) max_memory: Option<f64>,
}

impl Options {
    /// Of the arguments; none after the help was shown.
    pub(crate) fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let mut options = Self {
            binary: None,
            data: None,
            base_url: None,
            token: None,
            admin_token: None,
            sockets: 1000,
            graphs: 20,
            time: Duration::from_secs(30),
            pause: Duration::ZERO,
            batch: 1,
            idle: false,
            max_memory: None,
        };
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("binary") => options.binary = Some(args.value()?.into()),
                lexopt::Arg::Long("data") => options.data = Some(args.value()?.into()),
                lexopt::Arg::Long("base-url") => options.base_url = Some(args.value()?.parse()?),
                lexopt::Arg::Long("token") => options.token = Some(args.value()?.parse()?),
                lexopt::Arg::Long("admin-token") => options.admin_token = Some(args.value()?.parse()?),
                lexopt::Arg::Long("sockets") => options.sockets = args.value()?.parse()?,
                lexopt::Arg::Long("graphs") => options.graphs = args.value()?.parse()?,
                lexopt::Arg::Long("seconds") => options.time = Duration::try_from_secs_f64(args.value()?.parse()?)?,
                lexopt::Arg::Long("rate") => {
                    options.pause = Duration::try_from_secs_f64(1.0 / args.value()?.parse::<f64>()?)?;
                }
                lexopt::Arg::Long("batch") => options.batch = args.value()?.parse()?,
                lexopt::Arg::Long("idle") => options.idle = true,
                lexopt::Arg::Long("max-memory") => options.max_memory = Some(args.value()?.parse()?),
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    println!("{HELP}");
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!(options.binary.is_some() != options.base_url.is_some(), "either --binary or --base-url");
        ensure!(options.base_url.is_none() || options.token.is_some(), "--base-url needs --token");
        ensure!(options.graphs > 0 && options.sockets >= options.graphs, "each graph needs a socket at least");
        ensure!(options.batch > 0, "a batch has one transaction at least");
        Ok(Some(options))
    }
}
