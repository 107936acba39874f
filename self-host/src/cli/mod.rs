//! The command line.

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sync_http::service::{Service, Settings};
use tokio::sync::Semaphore;

use crate::auth::HttpKeys;
use crate::graphs::{Graphs, Options};
use crate::host::NativeHost;
use crate::log::{Format, Log, Threshold};
use crate::serve::{Front, Fronts, Shared};
use crate::store::{Assets, DataDir, Index};

/// Runs the program.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let log = Log::open(Format::Text, Threshold::Info, None)?;
    let data = DataDir::open(Path::new(&env("DB_SYNC_DATA_DIR").unwrap_or_else(|| "data/db-sync".into())))?;
    let index = Index::open(&data.index())?;
    let settings = Settings::from_lookup(env)?;
    let patience = Duration::from_secs(30);
    let options = Options {
        settings: settings.clone(),
        data: data.clone(),
        index: index.clone(),
        log: log.clone(),
        idle: Duration::from_mins(5),
        open: 512,
        patience,
    };
    let graphs = Graphs::start(&options, 2)?;
    let agents = env("AGENTS_SERVICE_URL").map(|url| url.parse()).transpose()?.map(crate::serve::Agents::new);
    let front = Front { host: NativeHost::new(log.clone()), index, assets: Assets::new(&data), graphs, agents };
    let (phase, seen) = Fronts::phase();
    let shared = Arc::new(Shared {
        front,
        service: Service::new(settings, HttpKeys::new()),
        health: Default::default(),
        log,
        connections: Arc::new(Semaphore::new(10_000)),
        phase: seen,
        body_idle: patience,
        head: Duration::from_secs(10),
        head_bytes: 32 << 10,
        ping: Duration::from_secs(30),
    });
    let port = env("DB_SYNC_PORT").unwrap_or_else(|| "8080".into());
    let listener = TcpListener::bind(format!("[::]:{port}"))?;
    println!("ready {}", listener.local_addr()?);
    let fronts = Fronts::start(&shared, phase, &[listener], 2)?;
    fronts.wait();
    Ok(())
}
