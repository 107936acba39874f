//! From the command line to a session that runs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::sync::mpsc;
use std::time::Duration;

use mailbox::agent::{AgentMailbox as _, UNREADABLE};
use mailbox::config::Config;
use mailbox::doorbell::{self, Watcher};
use mailbox::liveness::HEARTBEAT;
use mailbox::{FileAgent, fsafe, places};

use crate::arguments::Places;
use crate::failure::Failure;
use crate::session::{Event, Session};
use crate::{git, log, tree, verbs};

/// The longest line of standard input, in bytes, and how long it is waited for.
const MAX_INPUT: u64 = 64 << 10;
const INPUT_LIMIT: Duration = Duration::from_secs(10);

/// Drives an agent until there is nothing to do.
pub(crate) fn run(places: &Places) -> Result<(), Failure> {
    let places = Places {
        inside: places.inside.canonicalize()?,
        outside: places.outside.canonicalize()?,
        work: places.work.canonicalize()?,
        home: places.home.canonicalize()?,
    };
    let variables = input()?;
    let inside = fsafe::folder(&places.inside)?;
    let config = Config::load(&inside).map_err(|error| Failure::Config(error.to_string()))?;
    let _lock = verbs::lock(&places.outside)?;
    tree::adopt_orphans()?;
    // What a process before this one has left of its agent, of whatever generation.
    let mark = format!("{}:", config.mailbox_id);
    if !tree::end(|| tree::members(Some(&mark))) {
        log::line("error", "leftovers", "processes of an earlier agent cannot be ended");
    }
    let mut mailbox = FileAgent::open(&places.inside, &places.outside, &config.mailbox_id, config.generation)?;
    mailbox.reopen(config.reopen);
    let forgotten = mailbox.forget_claims()?;
    if forgotten > 0 {
        log::line("info", "claims-forgotten", &forgotten.to_string());
    }
    generation_is_current(&mut mailbox, &config)?;
    let (events, received) = mpsc::channel();
    signals(events.clone())?;
    if config.git_helper
        && let Err(error) = git::listen(&places.outside, events.clone())
    {
        // Git goes without, and says so itself.
        log::line("warn", "git-socket", &error.to_string());
    }
    beat(&places)?;
    watch(&places, Duration::from_millis(config.limits.poll_ms.max(10)), events.clone())?;
    let mut session = Session::new(mailbox, config, places, variables, events, received)?;
    let ended = session.run();
    // Whatever the reason: what the agent started ends with it.
    tree::end_all();
    ended
}

/// The one line of standard input: what the agent may know.
fn input() -> Result<BTreeMap<String, String>, Failure> {
    let bad = |why: &str| Failure::Config(format!("standard input: {why}"));
    let (told, heard) = mpsc::channel();
    std::thread::Builder::new().name("input".into()).spawn(move || {
        let mut line = Vec::new();
        let read = std::io::stdin().lock().take(MAX_INPUT + 1).read_until(b'\n', &mut line);
        // Nobody hears it when it came too late.
        let _ = told.send(read.map(|_| line));
    })?;
    let line = heard.recv_timeout(INPUT_LIMIT).map_err(|_| bad("no line within ten seconds"))??;
    if line.len() as u64 > MAX_INPUT {
        return Err(bad("the line is too long"));
    }
    let value: serde_json::Value = serde_json::from_slice(&line).map_err(|_| bad("no JSON"))?;
    if value.get("v") != Some(&1.into()) {
        return Err(bad("the version is not known"));
    }
    let variables = value.get("env").and_then(serde_json::Value::as_object).ok_or_else(|| bad("no variables"))?;
    let text = |(name, value): (&String, &serde_json::Value)| Some((name.clone(), value.as_str()?.to_owned()));
    variables.iter().map(text).collect::<Option<_>>().ok_or_else(|| bad("a variable is no text"))
}

/// Compares the configuration with what the host says: an older one is fenced, a newer one was never made.
fn generation_is_current(mailbox: &mut FileAgent, config: &Config) -> Result<(), Failure> {
    let deadline = std::time::Instant::now() + UNREADABLE;
    // Bounded by the deadline.
    loop {
        match mailbox.look(log::now()) {
            Ok(inbound) if inbound.control.generation < config.generation => {
                return Err(Failure::Config("the generation is above the host's".into()));
            }
            Ok(_) => return Ok(()),
            Err(error) if !error.is_passing() => return Err(error.into()),
            Err(error) if std::time::Instant::now() >= deadline => return Err(Failure::Unreadable(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Gives signs of life, whatever the agent does.
fn beat(places: &Places) -> Result<(), Failure> {
    let outside = fsafe::folder(&places.outside)?;
    std::thread::Builder::new().name("heartbeat".into()).spawn(move || {
        // Ends with the process.
        loop {
            // The host waits for several: one that fails is no reason to end.
            let _ = doorbell::touch(&outside, places::HEARTBEAT);
            std::thread::sleep(HEARTBEAT);
        }
    })?;
    Ok(())
}

/// Makes the session look when the host rings, and now and then without.
fn watch(places: &Places, poll: Duration, events: mpsc::Sender<Event>) -> Result<(), Failure> {
    let bell = places.inside.join(places::DOORBELL);
    let mut watcher = Watcher::new().inspect_err(|error| log::line("warn", "inotify-limit", &error.to_string())).ok();
    if let Some(watcher) = &mut watcher {
        watcher.add(0, &bell);
    }
    std::thread::Builder::new().name("doorbell".into()).spawn(move || {
        // Ends with the session.
        loop {
            let waited = watcher.as_mut().is_some_and(|watcher| watcher.wait(poll).is_ok());
            if !waited {
                std::thread::sleep(poll);
            }
            if events.send(Event::Look).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Takes SIGTERM and SIGINT for a wish to end.
fn signals(events: mpsc::Sender<Event>) -> Result<(), Failure> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
