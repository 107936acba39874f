//! A server of the operator's own, for a data directory that none runs on: it holds the lock, listens on no address, and
//! answers on the socket in the directory, until the verb is done.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use daemon_lifecycle::Spawned;

use crate::cli::failure::{Failure, exit};
use crate::config::{Config, Resolved};
use crate::daemon::Routes;
use crate::log::Threshold;
use crate::serve::{End, Launch, Server};

/// The running server. It ends with this.
pub(super) struct Engine {
    routes: Arc<Routes>,
    thread: Option<JoinHandle<End>>,
}

impl Engine {
    /// Starts it on a directory.
    pub(super) fn start(directory: &Path, resolved: &Resolved) -> Result<Self, Failure> {
        let mut config = Config::new(resolved)?;
        directory.clone_into(&mut config.data_dir);
        config.binds.clear();
        config.metrics_bind = None;
        config.tls = None;
        config.log_file = None;
        config.log_level = Threshold::named("error").unwrap_or_default();
        config.warnings.clear();
        // Nobody signs in: whoever comes, comes through the socket.
        config.has_way_in = true;
        let (told, hears) = mpsc::channel();
        // A thread of its own: the server has a runtime, and so has whoever asks.
        let thread = std::thread::Builder::new().name("operator".into()).spawn(move || {
            let started = Spawned::from_environment()
                .map_err(|error| Failure::new("inherited-descriptors", exit::BUG, error))
                .and_then(|mut spawned| Ok(Server::start(config, Launch::of_command_line(), &mut spawned)?));
            match started {
                Ok(server) => {
                    // Whoever started the thread waits for it.
                    let _ = told.send(Ok(server.routes()));
                    server.run(&mut || Err("nothing is read again".into()))
                }
                Err(failure) => {
                    let _ = told.send(Err(failure));
                    End::Graceful
                }
            }
        });
        let thread = thread.map_err(|error| Failure::new("io", exit::IO, error))?;
        let gone = || Failure::new("internal", exit::BUG, "the operator's server has ended at once");
        let routes = hears.recv().map_err(|_| gone())??;
        Ok(Self { routes, thread: Some(thread) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.routes.shut_down();
        if let Some(thread) = self.thread.take() {
            // One that has panicked is over, too.
            let _ = thread.join();
        }
    }
}
