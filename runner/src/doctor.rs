//! `doctor`: what stands between this machine and a session (docs/spec/session-mailbox.md 8.1).

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use daemon_lifecycle::lock::{FileSystem, file_system};
use http::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::api::Api;
use crate::http::Client;
use crate::program::{COMMAND, on_path, output};
use crate::relay::cgroup::Group;
use crate::relay::driver::Driver;
use crate::sandbox_agent::is_healthy;
use crate::settings::{Settings, Transport};

/// Free bytes below which there is too little room.
const FREE_BYTES: u64 = 1 << 30;
/// Seconds by which the clocks of worker and machine may differ.
const CLOCK_S: i64 = 30;
/// What says that the worker offers the transport `mailbox`.
const MAILBOX: &str = "x-logseq-mailbox";

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
struct Check {
    level: Level,
    code: &'static str,
    text: String,
    fix: &'static str,
}

impl Check {
    fn when(is_fine: bool, otherwise: Level, code: &'static str, text: impl Into<String>, fix: &'static str) -> Self {
        Self { level: if is_fine { Level::Ok } else { otherwise }, code, text: text.into(), fix }
    }
}

/// What was found, as text or as an object, and whether anything fails.
pub(crate) struct Report(Vec<Check>);

impl Report {
    /// Looks at everything.
    pub(crate) async fn make(settings: &Settings) -> Self {
        let client = Client::new();
        let mut checks = worker(&Api { client: &client, settings }).await;
        if settings.transport != Transport::Mailbox {
            checks.push(sandbox_agent(&client, settings).await);
            checks.push(tunnel(settings));
        }
        if settings.transport != Transport::Tunnel {
            // What transport `auto` misses for the mailbox is no failure: it takes the tunnel then.
            let otherwise = if settings.transport == Transport::Mailbox { Level::Fail } else { Level::Warn };
            checks.extend(drivers(settings, otherwise));
            checks.extend(agents(settings));
            checks.push(watching());
            checks.push(locks(&settings.state_dir));
        }
        checks.push(git(&["--version"], Level::Fail, "git-missing", "install git"));
        checks.push(git(
            &["config", "user.email"],
            Level::Warn,
            "git-identity",
            "git config --global user.email and user.name",
        ));
        checks.extend(state(&settings.state_dir));
        Self(checks)
    }

    /// Whether something fails.
    pub(crate) fn fails(&self) -> bool {
        self.0.iter().any(|check| check.level == Level::Fail)
    }

    /// A line a check, and one more about what can be done.
    pub(crate) fn as_text(&self) -> String {
        let mut text = String::new();
        for Check { level, code, text: told, fix } in &self.0 {
            let _infallible = writeln!(text, "{} {code} {told}", name(*level));
            if *level != Level::Ok {
                let _infallible = writeln!(text, "fix: {fix}");
            }
        }
        text
    }

    /// The same for programs.
    pub(crate) fn as_json(&self) -> Value {
        let checks = self.0.iter().map(|check| {
            let fix = (check.level != Level::Ok).then_some(check.fix);
            json!({"code": check.code, "level": name(check.level), "text": check.text, "fix": fix})
        });
        json!({"checks": checks.collect::<Vec<_>>()})
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

/// The agents worker: whether it answers, takes the token, has the same time, and what it offers.
async fn worker(api: &Api<'_>) -> Vec<Check> {
    let is_own = !matches!(api.settings.token.as_str(), "" | "dev-token");
    let mut checks = vec![Check::when(
        is_own,
        Level::Warn,
        "token-missing",
        if is_own { "a token is set" } else { "the token is the default one, which only a worker for tests takes" },
        "set TOKEN, or api.token-file",
    )];
    let reachable = |is_fine, text| {
        Check::when(is_fine, Level::Fail, "api-unreachable", text, "is BASE_URL the address of the agents worker?")
    };
    let answer = match api.ask(Method::GET, "/runners", None).await {
        Ok(answer) => answer,
        Err(why) => {
            checks.push(reachable(false, format!("{}: {why}", api.settings.api)));
            return checks;
        }
    };
    checks.push(reachable(!answer.status.is_server_error(), format!("{} answers {}", api.settings.api, answer.status)));
    let is_refused = matches!(answer.status.as_u16(), 401 | 403);
    checks.push(Check::when(
        !is_refused,
        Level::Fail,
        "token-rejected",
        if is_refused { answer.refusal() } else { "the token is taken".to_owned() },
        "set TOKEN to a token that the agents worker accepts",
    ));
    if let Some(theirs) = answer.date().and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) {
        let apart = (OffsetDateTime::now_utc() - theirs).whole_seconds().abs();
        checks.push(Check::when(
            apart <= CLOCK_S,
            Level::Warn,
            "clock-skew",
            format!("the clocks are {apart} s apart"),
            "set the clock, with an NTP service for instance",
        ));
    }
    let is_offered = answer.headers.get(MAILBOX).is_some_and(|value| value == "1");
    let offered = if is_offered { "the worker offers the transport mailbox" } else { "only the transport tunnel" };
    checks.push(Check::when(
        is_offered,
        Level::Warn,
        "mailbox-not-offered",
        offered,
        "nothing: transport tunnel is used",
    ));
    checks
}

async fn sandbox_agent(client: &Client, settings: &Settings) -> Check {
    let agent = &settings.agent;
    let answers = is_healthy(client, agent).await;
    let can_start =
        agent.start && (on_path("sandbox-agent").is_some() || agent.repo.as_ref().is_some_and(|it| it.is_dir()));
    let text = match (answers, can_start) {
        (true, _) => format!("answers at {}", agent.url),
        (false, true) => "can be started".to_owned(),
        (false, false) => format!("does not answer at {} and cannot be started", agent.url),
    };
    Check::when(answers || can_start, Level::Fail, "sandbox-agent-missing", text, "npm install -g @sandbox-agent/cli")
}

fn tunnel(settings: &Settings) -> Check {
    let tunnel = &settings.tunnel;
    let text = match (&tunnel.url, tunnel.start && on_path("cloudflared").is_some()) {
        (Some(url), _) => format!("the public address is {url}"),
        (None, true) => "cloudflared can be started".to_owned(),
        (None, false) => "no public address and no cloudflared".to_owned(),
    };
    let is_fine = tunnel.url.is_some() || (tunnel.start && on_path("cloudflared").is_some());
    Check::when(is_fine, Level::Fail, "tunnel-missing", text, "install cloudflared, or set RUNNER_BASE_URL")
}

/// What agents are walled in with.
fn drivers(settings: &Settings, otherwise: Level) -> Vec<Check> {
    const FIX: &str = "install bubblewrap, or podman or docker and set RUNNER_IMAGE";
    let driver = match Driver::choose(settings) {
        Ok(driver) => driver,
        Err(why) => return vec![Check::when(false, otherwise, "driver-missing", why.to_string(), FIX)],
    };
    let is_wall = driver != Driver::Plain;
    let text = if is_wall {
        "agents do not see the rest of the machine"
    } else {
        "agents can do what this user can, and read what the runner keeps"
    };
    let mut checks = vec![
        Check::when(true, otherwise, "driver-missing", format!("driver {}", driver.name()), FIX),
        Check::when(is_wall, Level::Warn, "driver-is-no-boundary", text, FIX),
    ];
    if !is_wall {
        let has = Group::can_be_made();
        let text =
            if has { "each agent has a control group" } else { "processes that hide from their agent may outlive it" };
        checks.push(Check::when(
            has,
            Level::Warn,
            "cgroup-missing",
            text,
            "let the runner make control groups (cgroup v2, Delegate=yes)",
        ));
    }
    checks
}

/// Agents: which of them are there, and whether they are logged in where that can be asked.
fn agents(settings: &Settings) -> Vec<Check> {
    let named = settings.tables.names().into_iter().filter_map(|name| Some((settings.tables.agent(&name)?, name)));
    let (there, missing): (Vec<_>, Vec<_>) = named.partition(|(agent, _)| {
        let path = Path::new(&agent.command);
        if path.is_absolute() { path.is_file() } else { on_path(&agent.command).is_some() }
    });
    let names = |list: &[(crate::settings::AgentTable, String)]| {
        list.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let text = if there.is_empty() { format!("none of {}", names(&missing)) } else { names(&there) };
    let fix = "npm install -g @zed-industries/claude-agent-acp, or name a program under [agents.NAME] of the configuration file";
    let mut checks = vec![Check::when(!there.is_empty(), Level::Warn, "agent-missing", text, fix)];
    for (agent, name) in there {
        let Some((program, words)) = agent.login_check.split_first() else { continue };
        let is_in = output(Command::new(program).args(words), COMMAND).is_ok_and(|said| said.status.success());
        checks.push(Check::when(is_in, Level::Fail, "agent-login", name, "log in with the agent's own program"));
    }
    checks
}

/// Whether files can be watched.
fn watching() -> Check {
    let watcher = mailbox::doorbell::Watcher::new();
    let text = watcher.err().map_or_else(|| "files can be watched".to_owned(), |error| error.to_string());
    let is_fine = text == "files can be watched";
    Check::when(
        is_fine,
        Level::Warn,
        "inotify-limit",
        text,
        "raise fs.inotify.max_user_instances; sessions look once a second",
    )
}

/// Whether locks hold where sessions keep their files.
fn locks(folder: &Path) -> Check {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder);
    #[expect(clippy::useless_conversion, reason = "the field's type differs between architectures")]
    let known = rustix::fs::statfs(there).map(|found| file_system(i64::from(found.f_type)));
    let (is_fine, what) = match known {
        Ok(FileSystem::Local) => (true, "a local file system"),
        Ok(FileSystem::Fuse) => (false, "fuse"),
        Ok(FileSystem::Network(name)) => (false, name),
        Err(_) => (false, "not known"),
    };
    let text = format!("{}: {what}", there.display());
    Check::when(is_fine, Level::Warn, "filesystem-locks", text, "name a folder of a local disk with RUNNER_STATE_DIR")
}

/// Whether git answers these words with something.
fn git(words: &[&str], otherwise: Level, code: &'static str, fix: &'static str) -> Check {
    let said = output(Command::new("git").args(words), COMMAND).ok().filter(|said| said.status.success());
    let text = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let text = text.filter(|text| !text.is_empty());
    Check::when(
        text.is_some(),
        otherwise,
        code,
        text.unwrap_or_else(|| format!("git {} says nothing", words.join(" "))),
        fix,
    )
}

/// The folder of the runner's own files: who may read it, and how much room there is.
fn state(folder: &Path) -> Vec<Check> {
    // It is made at the first start: until then the nearest folder above counts.
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(folder);
    let mode = std::fs::metadata(folder).map_or(0, |metadata| metadata.mode() & 0o077);
    let free = rustix::fs::statvfs(there).map_or(0, |room| room.f_bavail.saturating_mul(room.f_frsize));
    vec![
        Check::when(
            mode == 0,
            Level::Fail,
            "state-permissions",
            folder.display().to_string(),
            "chmod 700: it holds tokens",
        ),
        Check::when(
            free >= FREE_BYTES,
            Level::Warn,
            "disk-low",
            format!("{} MiB are free", free >> 20),
            "make room: sessions keep their files here",
        ),
    ]
}
