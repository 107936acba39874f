//! The runner at work in transport `tunnel` (docs/spec/agents.md 8.1): a sandbox-agent that answers, a public address, a
//! registration, and then a heartbeat again and again.

use std::time::Duration;

use tokio::process::Child;

use crate::api::{Api, Refused};
use crate::children::Children;
use crate::failure::Failure;
use crate::http::Client;
use crate::log::{Level, Log};
use crate::program::how;
use crate::sandbox_agent;
use crate::settings::Settings;
use crate::tunnel;

/// Pauses between the first tries to register.
pub(crate) const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];
/// The pause after them.
const LONGEST: Duration = Duration::from_mins(1);

/// A runner at work.
pub(crate) struct Runner<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) children: &'a Children,
    pub(crate) log: Log,
    /// Whether an agents worker that does not answer at the start ends the runner.
    pub(crate) fail_fast: bool,
    /// Pauses between the first tries to register; with `fail_fast` there are no others.
    pub(crate) pauses: &'a [Duration],
    /// Says that the runner works.
    pub(crate) ready: &'a dyn Fn() -> Result<(), Failure>,
}

/// What the runner has started.
struct Started {
    agent: Option<Child>,
    tunnel: Option<Child>,
}

impl Runner<'_> {
    /// Works until something is wrong that trying again does not cure. To be dropped when the runner is to end; the processes that
    /// it has started are ended by [`Children::end_all`].
    pub(crate) async fn work(&self) -> Result<(), Failure> {
        let client = Client::new();
        let api = Api { client: &client, settings: self.settings };
        let agent = sandbox_agent::ensure(&client, &self.settings.agent, self.children, self.log).await?;
        let open = tunnel::open(self.settings, self.children, self.log).await?;
        let mut started = Started { agent, tunnel: open.child };
        let mut url = open.url;
        self.register(&api, &url).await?;
        self.log.info(format_args!("registered {} at {url}", self.settings.runner_id));
        (self.ready)()?;
        loop {
            self.beat(&api, &url).await?;
            tokio::time::sleep(self.settings.heartbeat).await;
            self.repair(&client, &mut started, &mut url, &api).await?;
        }
    }

    /// Registers; tries again while the worker does not answer.
    async fn register(&self, api: &Api<'_>, url: &str) -> Result<(), Failure> {
        let mut pauses = self.pauses.iter().copied();
        loop {
            let why = match api.register(url).await {
                Ok(()) => return Ok(()),
                Err(Refused::ForGood(failure)) => return Err(failure),
                Err(Refused::Later(why)) => why,
            };
            let pause = pauses.next();
            if pause.is_none() && self.fail_fast {
                return Err(Failure::Unreachable(why));
            }
            let pause = pause.unwrap_or(LONGEST);
            self.log.warn(format_args!("not registered ({why}); again in {} s", pause.as_secs()));
            tokio::time::sleep(pause).await;
        }
    }

    /// One heartbeat. A worker that does not know the runner any more, or did not answer, is told of it anew; when that fails too,
    /// the next heartbeat tries again.
    async fn beat(&self, api: &Api<'_>, url: &str) -> Result<(), Failure> {
        let active = sandbox_agent::active(api.client, &self.settings.agent).await;
        match api.heartbeat(active).await {
            Ok(()) => self.log.write(Level::Debug, format_args!("heartbeat, {active} active sessions")),
            Err(why) => {
                self.log.warn(format_args!("heartbeat failed ({why}); registering again"));
                match api.register(url).await {
                    Ok(()) => self.log.info("registered again"),
                    Err(Refused::Later(why)) => self.log.warn(format_args!("not registered ({why})")),
                    Err(Refused::ForGood(failure @ Failure::Unauthorized(_))) => return Err(failure),
                    Err(Refused::ForGood(failure)) => self.log.warn(failure),
                }
            }
        }
        Ok(())
    }

    /// Starts again what has ended of what the runner started. What cannot be started now is tried again after the next heartbeat.
    async fn repair(
        &self,
        client: &Client,
        started: &mut Started,
        url: &mut String,
        api: &Api<'_>,
    ) -> Result<(), Failure> {
        if let Some(ended) = ended(&mut started.agent) {
            self.log.warn(format_args!("sandbox-agent ended with {ended}"));
            match sandbox_agent::ensure(client, &self.settings.agent, self.children, self.log).await {
                Ok(child) => started.agent = child,
                Err(failure) => self.log.warn(failure),
            }
        }
        if let Some(ended) = ended(&mut started.tunnel) {
            self.log.warn(format_args!("cloudflared ended with {ended}"));
            match tunnel::open(self.settings, self.children, self.log).await {
                Ok(open) => {
                    started.tunnel = open.child;
                    *url = open.url;
                    // The worker has the old address until it is told.
                    self.register(api, url).await?;
                }
                Err(failure) => self.log.warn(failure),
            }
        }
        Ok(())
    }
}

/// How a process ended, if it has.
fn ended(child: &mut Option<Child>) -> Option<String> {
    match child.as_mut()?.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(how(Ok(status))),
        Err(error) => Some(how(Err(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::{Machine, NamedFile, Tables, gather};

    #[test]
    fn a_worker_that_never_answers_ends_a_runner_that_is_to_fail_fast() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let flags = BTreeMap::from([("api.url", format!("http://{closed}"))]);
        let values = gather(&flags, &|_| None, &NamedFile { path: None, may_be_absent: true }).unwrap();
        let machine = Machine { name: "m".to_owned(), state_dir: Some("/nowhere".into()) };
        let settings = Settings::new(&values, &machine, Tables::default()).unwrap();
        let runner = Runner {
            settings: &settings,
            children: &Children::of("none"),
            log: Log(Level::Error),
            fail_fast: true,
            pauses: &[Duration::from_millis(1); 5],
            ready: &|| Ok(()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = Client::new();
        let api = Api { client: &client, settings: &settings };
        let failure = runtime.block_on(runner.register(&api, "https://public.example")).unwrap_err();
        assert_eq!(failure.exit(), 69);
        assert!(failure.to_string().contains("refused"), "{failure}");
    }
}
