//! The daemon itself.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemon_lifecycle::admin::{self, Act, Standing};
use daemon_lifecycle::endpoint::{self, Endpoint};
use daemon_lifecycle::record::Kind;
use daemon_lifecycle::{Claim, Error, Holder, Owner, Program, Scope, Spawned, Step, Trial};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::http;

/// How often an idle daemon makes sure that it has its lock.
const CHECKED: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Serve {
    #[arg(long, alias = "root-dir", default_value = "data")]
    data_dir: PathBuf,
    #[arg(long)]
    graph: Option<String>,
    #[arg(long, default_value = "unknown")]
    owner: String,
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    allow_weak_lock: bool,
    #[arg(long, default_value_t = 5000)]
    stop_timeout_ms: u64,
    /// Answer the daemon's own routes on loopback, not on the socket
    #[arg(long)]
    tcp: bool,
    /// Say that the own routes are where nobody answers
    #[arg(long)]
    unreachable: bool,
    /// A line of further text for the log
    #[arg(long)]
    note: Option<String>,
}

/// What ends the daemon.
enum End {
    Asked,
    Lost,
}

struct Daemon {
    holder: Holder,
    database: Mutex<Option<rusqlite::Connection>>,
    end: Mutex<Sender<End>>,
    /// How often the own routes were asked.
    asked: AtomicUsize,
    program: Program,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A line for the log. A full disk takes none, which is no reason to end.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A named point: a test may have the daemon killed or stuck there.
fn point(name: &str) {
    if variable("DAEMON_CRASH_AT").as_deref() == Some(name) {
        // A kill by itself, as by anybody else: nothing is cleaned up.
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let _ = std::process::Command::new("kill").args(["-9", &own.to_string()]).status();
    }
    if let Some((at, delay)) = variable("DAEMON_DELAY_AT").as_deref().and_then(|text| text.split_once(':'))
        && at == name
    {
        std::thread::sleep(Duration::from_millis(delay.parse().unwrap_or(0)));
    }
    if variable("DAEMON_STICK_AT").as_deref() == Some(name) {
        loop {
            std::thread::park();
        }
    }
}

pub(crate) fn serve(args: &Serve, program: &Program) -> u8 {
    let mut spawned = match Spawned::from_environment() {
        Ok(spawned) => spawned,
        Err(error) => {
            say(&format!("error: {error}"));
            return 70;
        }
    };
    say(&format!("test daemon {} ({})", program.build.version, program.build.revision));
    match start(args, program, &mut spawned) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error}"));
            let mut details = error.members();
            details.remove("code");
            details.remove("message");
            spawned.reporter.error(error.code(), &error.to_string(), details);
            error.exit()
        }
    }
}

fn start(args: &Serve, program: &Program, spawned: &mut Spawned) -> Result<u8, Error> {
    let scope = Scope::new(&args.data_dir, args.graph.as_deref()).map_err(|error| Error::Usage(error.to_string()))?;
    let at = |error| Error::io(scope.directory(), error);
    spawned.settle().map_err(at)?;
    if let Some(note) = &args.note {
        say(note);
    }
    let step = |step| {
        point(match step {
            Step::BeforeLock => "before-lock",
            Step::AfterLock => "after-lock",
            Step::BeforeMetadata => "before-metadata",
        });
    };
    let trial = Trial {
        file_system: variable("TRIAL_FILE_SYSTEM").and_then(|text| text.parse().ok()),
        second_gets_it: variable("TRIAL_SECOND").is_some(),
    };
    let taken = Holder::take(&Claim {
        scope: &scope,
        kind: Kind::SelfHost,
        owner: Owner::read(&args.owner),
        program,
        stop_timeout: Duration::from_millis(args.stop_timeout_ms),
        allow_weak_lock: args.allow_weak_lock,
        trial,
        step: &step,
    })?;
    for warning in &taken.warnings {
        say(&format!("warning: {warning}"));
    }
    if variable("DAEMON_HELPER").is_some() {
        let _ =
            std::process::Command::new("sleep").arg("300").spawn().map(|child| say(&format!("helper {}", child.id())));
    }
    spawned.reporter.starting("opening the database");
    let database = open(&scope).map_err(|error| at(std::io::Error::other(error)))?;
    point("after-metadata");
    let (sender, receiver) = mpsc::channel();
    let daemon = Arc::new(Daemon {
        holder: taken.holder,
        database: Mutex::new(Some(database)),
        end: Mutex::new(sender.clone()),
        asked: AtomicUsize::new(0),
        program: program.clone(),
    });
    let public = TcpListener::bind(("127.0.0.1", args.port)).map_err(at)?;
    let listen = vec![format!("http://{}", public.local_addr().map_err(at)?)];
    let endpoint = own_routes(args, &scope, &daemon).map_err(at)?;
    serve_public(public, &daemon);
    point("after-listen");
    let endpoint = if args.unreachable { "http://127.0.0.1:1".to_owned() } else { endpoint.to_string() };
    daemon.holder.publish(endpoint, listen.clone())?;
    watch(spawned, sender);
    spawned.reporter.ready(&daemon.holder.record(), &taken.recovered);
    println!("ready: {}", listen.join(" "));
    run(&daemon, &receiver)
}

fn open(scope: &Scope) -> rusqlite::Result<rusqlite::Connection> {
    let database = rusqlite::Connection::open(scope.folder().join("rows.sqlite"))?;
    database.pragma_update(None, "journal_mode", "wal")?;
    database.pragma_update(None, "synchronous", "full")?;
    database.execute_batch("create table if not exists rows (id integer primary key, text text)")?;
    Ok(database)
}

/// Waits for what ends the daemon, and ends it.
fn run(daemon: &Daemon, receiver: &mpsc::Receiver<End>) -> Result<u8, Error> {
    let stays = variable("DAEMON_STAYS_WHEN_LOST").is_some();
    loop {
        let lost = match receiver.recv_timeout(CHECKED) {
            Ok(End::Asked) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(End::Lost) => true,
            Err(RecvTimeoutError::Timeout) => daemon.holder.check().is_err(),
        };
        if lost && !stays {
            say("the lock is lost");
            return Ok(76);
        }
    }
    daemon.holder.stopping()?;
    point("during-stop");
    // Closing writes the journal into the database; who waits for it gets no database any more.
    drop(daemon.database.lock().unwrap_or_else(PoisonError::into_inner).take());
    say("ended");
    daemon.holder.clean_up();
    Ok(0)
}

fn watch(spawned: &mut Spawned, sender: Sender<End>) {
    if let Some(leash) = spawned.leash() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let _ = leash.wait();
            let _ = sender.send(End::Asked);
        });
    }
    let ignores = variable("DAEMON_IGNORES_TERM").is_some();
    if let Ok(mut signals) = Signals::new([SIGTERM, SIGINT]) {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if !ignores {
                    let _ = sender.send(End::Asked);
                }
            }
        });
    }
}

fn own_routes(args: &Serve, scope: &Scope, daemon: &Arc<Daemon>) -> std::io::Result<Endpoint> {
    let shared = Arc::clone(daemon);
    if args.tcp {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let daemon = Arc::clone(&shared);
                std::thread::spawn(move || daemon.own(&stream, &stream, true));
            }
        });
        return Ok(Endpoint::Loopback(address));
    }
    let listener = endpoint::bind(scope)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let daemon = Arc::clone(&shared);
            std::thread::spawn(move || daemon.own(&stream, &stream, false));
        }
    });
    Ok(Endpoint::Unix(scope.socket()))
}

fn serve_public(listener: TcpListener, daemon: &Arc<Daemon>) {
    let shared = Arc::clone(daemon);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let daemon = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Ok(request) = http::read(&mut stream) {
                    let (status, body) = daemon.public(&request);
                    let _ = http::write(&mut stream, status, &body);
                }
            });
        }
    });
}

impl Daemon {
    fn end(&self, end: End) {
        let _ = self.end.lock().unwrap_or_else(PoisonError::into_inner).send(end);
    }

    /// Answers one of the daemon's own routes.
    fn own(&self, mut read: impl Read, mut write: impl Write, tcp: bool) {
        let Ok(request) = http::read(&mut read) else {
            return;
        };
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let slow = variable("DAEMON_SLOW_FIRST").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        if let Some(delay) = variable("DAEMON_SLOW_HEALTH").and_then(|text| text.parse().ok())
            && number < slow
        {
            std::thread::sleep(Duration::from_millis(delay));
        }
        let record = self.holder.record();
        let lost = self.holder.check().is_err();
        let clients = variable("DAEMON_CLIENTS").and_then(|text| text.parse().ok()).unwrap_or(0);
        let standing =
            Standing { record: &record, token: self.holder.token(), build: &self.program.build, clients, lost };
        let reply = admin::answer(
            &admin::Request {
                method: &request.method,
                path: &request.path,
                graph: request.value("graph"),
                host: request.host.as_deref(),
                tcp,
                token: request.token.as_deref(),
                body: &request.body,
            },
            &standing,
        );
        let failed = match reply.act {
            Some(Act::SetOwner(owner)) => self.holder.set_owner(owner).err(),
            _ => None,
        };
        let _ = match failed {
            Some(error) => http::write(&mut write, 409, &json!({ "error": error.code() }).to_string()),
            None => http::write(&mut write, reply.status, &reply.body.to_string()),
        };
        if reply.act == Some(Act::Shutdown) && variable("DAEMON_IGNORES_SHUTDOWN").is_none() {
            self.end(End::Asked);
        }
        if lost && reply.status != 200 {
            self.end(End::Lost);
        }
    }

    /// Answers a client: rows are written and counted.
    fn public(&self, request: &http::Request) -> (u16, String) {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") => (200, json!({ "ok": true }).to_string()),
            ("POST", "/rows") => self.write(&String::from_utf8_lossy(&request.body)),
            _ => (404, String::new()),
        }
    }

    /// Writes a row: it is acknowledged once it is on the disk, and only by who has the lock.
    fn write(&self, text: &str) -> (u16, String) {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if self.holder.check().is_err() {
            self.end(End::Lost);
            return (503, json!({ "error": "repo-locked" }).to_string());
        }
        let Some(database) = database.as_mut() else {
            return (503, json!({ "error": "server stopping" }).to_string());
        };
        match database.execute("insert into rows (text) values (?)", [text]) {
            Ok(_) => (200, json!({ "id": database.last_insert_rowid() }).to_string()),
            Err(error) => (500, json!({ "error": error.to_string() }).to_string()),
        }
    }
}
