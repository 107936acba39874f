//! The store of bridges' logs (`pg_sync::store`) and its streams (`durable_streams`) behind HTTP, with the routes that write open: what the
//! published conformance suite of durable streams is run against (docs/spec/pg-sync.md 6.1).
//!
//! It writes what the suite needs to read: PUT, POST and DELETE under `/v1/stream/`. Nothing of that is in a release. Each request with a
//! header of a feature that we do not offer (expiry, closing, producers, forks, `stream-seq`) is refused.
//! `LONG_POLL_MS` is how long a long poll waits (20,000). The address is the first line that is printed.

mod routes;
mod store;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use database::local_sqlite::Rusqlite;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use routes::{Server, respond};
use store::Streams;

fn main() -> Result<()> {
    let long_poll = std::env::var("LONG_POLL_MS").map_or(Ok(20_000), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(Duration::from_millis(long_poll)))
}

async fn serve(long_poll: Duration) -> Result<()> {
    let sql = Rusqlite::in_memory()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let server = Rc::new(Server { streams: RefCell::new(Streams::new(sql)?), long_poll, base: base.clone() });
    writeln!(std::io::stdout(), "{base}")?;
    loop {
        let (stream, _) = listener.accept().await?;
        let server = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let server = Rc::clone(&server);
                async move { Ok::<_, Infallible>(respond(&server, request).await) }
            });
            // Whatever went wrong with a connection was the other end's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
