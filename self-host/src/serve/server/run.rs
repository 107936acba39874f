//! A running server until its end (self-host.md 3.3).

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{interval, interval_at};
use web::{Event, Level};

use super::super::accept::Accepting;
use super::super::fronts::Fronts;
use super::super::notify::Notifier;
use super::super::reload::{self, Reload};
use super::super::{census, measure, operator, reports, storage};
use super::Server;
use crate::daemon::Hold;
use crate::graphs::Graphs;

/// How often the files of the certificate are looked at.
const CERTIFICATES: Duration = Duration::from_mins(1);

/// How often an idle server makes sure that it has its lock (docs/spec/daemon.md 4.2).
const LOCK_CHECKED: Duration = Duration::from_secs(5);

/// What sockets get at the end to answer their close.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Graceful,
    /// At once, after a second SIGINT.
    Interrupted,
    /// At once, after a second SIGTERM.
    Terminated,
    /// Without touching a file: another server may have the data directory.
    LockLost,
}

/// What the process is sent.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Server {
    /// Runs until it is told to end, and ends in the order of self-host.md 3.3.
    pub(crate) fn run(self, reload: &mut dyn FnMut() -> Result<Reload, String>) -> End {
        let Self {
            config,
            log,
            graphs,
            shared,
            stored,
            fronts,
            index,
            runtime,
            mut signals,
            hold,
            routes,
            socket,
            operator,
            measuring,
            reports,
            _files,
            observing,
            ..
        } = self;
        let watched = {
            let (graphs, shared) = (graphs.clone(), Arc::clone(&shared));
            let host = shared.front.host.clone();
            stored.watch(host, async move |tokens| {
                shared.service.forget_tokens();
                graphs.revoke(&tokens).await;
            })
        };
        let notifier = Notifier::of_environment();
        // What the surface does is done on the thread that asked for it.
        let local = LocalSet::new();
        let end = local.block_on(&runtime, async {
            let attending =
                operator::serve(Accepting::Unix(socket, false), Arc::clone(&shared), Arc::clone(&routes), operator);
            let answering = tokio::task::spawn_local(attending);
            let measuring =
                measuring.map(|listener| tokio::task::spawn_local(measure::serve(listener, Arc::clone(&shared))));
            let trying = tokio::task::spawn_local(storage::watch(Arc::clone(&shared)));
            let counting = tokio::task::spawn_local(census::watch(Arc::clone(&shared), config.metrics_graphs));
            let reporting = reports.map(|waiting| tokio::task::spawn_local(reports::deliver(waiting, log.clone())));
            notifier.ready("serving");
            {
                let mut watched = std::pin::pin!(watched);
                // The files were read at the start: the first look comes after one interval.
                let mut certificates = interval_at((Instant::now() + CERTIFICATES).into(), CERTIFICATES);
                let mut beats = notifier.beat().map(interval);
                let mut checks = interval(LOCK_CHECKED);
                loop {
                    tokio::select! {
                        () = &mut watched => {}
                        _ = signals.interrupt.recv() => break,
                        _ = signals.terminate.recv() => break,
                        () = routes.asked_to_end() => break,
                        () = hold.lost() => break,
                        // What it finds is told to whoever waits above.
                        _ = checks.tick() => {
                            let _ = hold.check();
                        }
                        _ = signals.hang_up.recv() => {
                            notifier.reloading();
                            reload::apply(&shared, &log, reload());
                            reload::refresh(&shared, &log);
                            notifier.ready("serving");
                        }
                        _ = certificates.tick() => reload::refresh(&shared, &log),
                        () = next(&mut beats) => {
                            // Only a server that takes connections and answers is alive.
                            if shared.pulse.has_turned() && shared.health.is_good(&shared.front.index).await {
                                notifier.alive();
                            }
                        }
                        _ = signals.user.recv() => graphs.checkpoint().await,
                    }
                }
            }
            log.info("stopping");
            notifier.stopping(config.shutdown + CLOSING);
            if !hold.is_lost()
                && let Err(error) = hold.holder().stopping()
            {
                log.warn(&format!("who looks is not told that the server stops: {error}"));
            }
            let ending = async {
                if let Some(observing) = observing {
                    observing.stop().await;
                }
                stop(&graphs, fronts, &hold, config.shutdown).await;
            };
            let end = tokio::select! {
                () = ending => End::Graceful,
                _ = signals.interrupt.recv() => End::Interrupted,
                _ = signals.terminate.recv() => End::Terminated,
            };
            answering.abort();
            trying.abort();
            counting.abort();
            reporting.inspect(JoinHandle::abort);
            measuring.inspect(JoinHandle::abort);
            end
        });
        // With it go handles to the index.
        drop(local);
        // Also when it was lost on the way to the end.
        let end = if hold.is_lost() { End::LockLost } else { end };
        match end {
            End::LockLost => {
                log.event(&Event::new(Level::Error, "db-sync/lock-lost"));
                // Whoever closes the index writes into it.
                std::mem::forget((shared, graphs));
            }
            End::Graceful => {
                // The last handles to the index.
                drop((shared, graphs));
                index.join();
                log.info("directory can be handed over");
            }
            End::Interrupted | End::Terminated => {}
        }
        hold.holder().clean_up();
        // What still runs may write for as long as the process lives, so the lock goes with the process.
        std::mem::forget(hold);
        // What still runs there is cut.
        runtime.shutdown_background();
        end
    }
}

/// The next beat, where there is one.
async fn next(beats: &mut Option<tokio::time::Interval>) {
    match beats {
        Some(beats) => drop(beats.tick().await),
        None => std::future::pending().await,
    }
}

/// Lets nobody in, answers what was received, closes sockets and graphs, and gives transfers their time. Without the lock
/// nothing is given time, and nothing is closed.
async fn stop(graphs: &Graphs, fronts: Fronts, hold: &Hold, limit: Duration) {
    let begun = Instant::now();
    fronts.stop();
    if hold.is_lost() {
        graphs.abandon().await;
        return fronts.end(CLOSING).await;
    }
    graphs.stop(limit.max(CLOSING)).await;
    fronts.end(limit.saturating_sub(begun.elapsed())).await;
}

impl Signals {
    /// From now on they are heard. In a runtime.
    ///
    /// # Errors
    /// The system gives no descriptors.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}
