//! What can be set, and where (docs/spec/session-mailbox.md 8.2, docs/spec/agents.md 8.1).

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, at least 1.
    Number,
    /// `1` or `0`; `true` or `false` in the file.
    Switch,
    /// A time such as `10m`, in hours, minutes or seconds; or `off`.
    Duration,
    /// Texts, separated by colons; in the file a list.
    List,
    /// A number of bytes such as `512MiB`.
    Size,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A secret: no flag, and in the file only the name of a file that holds it, under the same name with `-file` behind it.
    Secret,
}

/// Something that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// Its variable.
    pub variable: Option<&'static str>,
    /// Its flag.
    pub flag: Option<&'static str>,
    /// What it is when nobody says; nothing where that is found out at the start.
    pub default: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is for.
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    variable: &'static str,
    flag: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Key {
    Key { name, variable: Some(variable), flag: Some(flag), default, kind, help }
}

const fn secret(name: &'static str, variable: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { name, variable: Some(variable), flag: None, default, kind: Kind::Secret, help }
}

/// All of them.
pub const KEYS: [Key; 38] = [
    key("api.url", "BASE_URL", "base-url", "http://127.0.0.1:8787", Kind::Text, "Address of the agents worker"),
    Key {
        name: "api.allow-http",
        variable: None,
        flag: None,
        default: "0",
        kind: Kind::Switch,
        help: "Whether it may be reached without encryption on another machine",
    },
    secret("api.token", "TOKEN", "dev-token", "Token to register with"),
    key("runner.id", "RUNNER_ID", "runner-id", "", Kind::Text, "Name of this runner; the machine's if it has none"),
    key("runner.max-sessions", "RUNNER_MAX_SESSIONS", "max-sessions", "1", Kind::Number, "Sessions at once"),
    key(
        "runner.transport",
        "RUNNER_TRANSPORT",
        "transport",
        "auto",
        Kind::Choice(&["auto", "mailbox", "tunnel"]),
        "How the worker reaches this machine",
    ),
    key(
        "runner.replace",
        "RUNNER_REPLACE",
        "replace",
        "0",
        Kind::Switch,
        "Take the name from another machine that was seen lately",
    ),
    key("runner.state-dir", "RUNNER_STATE_DIR", "state-dir", "", Kind::Text, "Folder of the runner's own files"),
    key(
        "runner.workspace-dir",
        "RUNNER_WORKSPACE_DIR",
        "workspace-dir",
        "",
        Kind::Text,
        "Folder in which sessions work; the worker's choice if none is named",
    ),
    Key {
        name: "runner.keep-work",
        variable: None,
        flag: None,
        default: "1",
        kind: Kind::Switch,
        help: "Whether the working tree of a session stays when its folder is removed a week after its end",
    },
    key(
        "runner.shim",
        "RUNNER_SHIM",
        "shim",
        "",
        Kind::Text,
        "The program agent-shim; beside this one if none is named",
    ),
    key(
        "runner.log",
        "RUNNER_LOG",
        "log",
        "info",
        Kind::Choice(&["debug", "info", "warn", "error"]),
        "What is written to the log",
    ),
    key(
        "driver.kind",
        "RUNNER_DRIVER",
        "driver",
        "auto",
        Kind::Choice(&["auto", "bubblewrap", "container", "plain"]),
        "What an agent is walled in with; plain is no wall",
    ),
    key("driver.image", "RUNNER_IMAGE", "image", "", Kind::Text, "Image of the driver container"),
    key(
        "driver.network",
        "RUNNER_NETWORK",
        "network",
        "host",
        Kind::Text,
        "Network of an agent: host, none, or the name of a container network",
    ),
    Key {
        name: "driver.system-binds",
        variable: None,
        flag: None,
        default: "/usr:/bin:/sbin:/lib:/lib64:/etc/ssl:/etc/resolv.conf:/etc/hosts:/etc/passwd:/etc/group:/etc/nsswitch.conf",
        kind: Kind::List,
        help: "Paths of the system that an agent sees in the driver bubblewrap, those that exist",
    },
    key(
        "limits.idle-exit",
        "IDLE_EXIT",
        "idle-exit",
        "10m",
        Kind::Duration,
        "An agent without work ends after so long",
    ),
    key("limits.turn", "TURN_LIMIT", "turn-limit", "off", Kind::Duration, "The longest turn"),
    key("limits.start", "START_LIMIT", "start-limit", "300s", Kind::Duration, "The longest start of an agent"),
    key(
        "limits.orphan",
        "ORPHAN_LIMIT",
        "orphan-limit",
        "24h",
        Kind::Duration,
        "An agent without a runner ends after so long",
    ),
    key(
        "mailbox.retry-sent",
        "RETRY_SENT",
        "retry-sent",
        "1",
        Kind::Switch,
        "Send a prompt once more that an agent had when it died",
    ),
    key(
        "mailbox.max-bytes",
        "MAILBOX_MAX_BYTES",
        "mailbox-max-bytes",
        "512MiB",
        Kind::Size,
        "The longest file of an agent's that is read",
    ),
    key(
        "mailbox.reopen",
        "MAILBOX_REOPEN",
        "mailbox-reopen",
        "always",
        Kind::Choice(&["always", "auto"]),
        "Whether an agent's side opens the runner's file for each look, or keeps it open on file systems of this machine",
    ),
    key(
        "mailbox.inotify",
        "MAILBOX_INOTIFY",
        "mailbox-inotify",
        "1",
        Kind::Switch,
        "Hear of an agent's files at once, and not at the next look",
    ),
    key(
        "transcript.globs",
        "TRANSCRIPT_GLOBS",
        "transcript-globs",
        "",
        Kind::Text,
        "Where agents keep conversations: agent=path entries, besides those that are known",
    ),
    key(
        "transcript.max-bytes",
        "TRANSCRIPT_MAX_BYTES",
        "transcript-max-bytes",
        "4MiB",
        Kind::Size,
        "The longest conversation that is kept",
    ),
    key(
        "transcript.on-fail",
        "TRANSCRIPT_ON_FAIL",
        "transcript-on-fail",
        "fail",
        Kind::Choice(&["fail", "continue"]),
        "What is done when a conversation cannot be had: the session fails, or goes on without it",
    ),
    key(
        "tunnel.url",
        "RUNNER_BASE_URL",
        "tunnel-url",
        "",
        Kind::Text,
        "Public address of the sandbox-agent; then no tunnel is opened",
    ),
    key(
        "tunnel.start",
        "AUTO_START_CLOUDFLARED",
        "auto-start-cloudflared",
        "1",
        Kind::Switch,
        "Open a tunnel with cloudflared",
    ),
    key("tunnel.args", "CLOUDFLARED_ARGS", "cloudflared-args", "", Kind::Text, "Further words for cloudflared"),
    key(
        "tunnel.log",
        "CLOUDFLARED_LOG",
        "cloudflared-log",
        "",
        Kind::Text,
        "Log of cloudflared; in the state folder if none is named",
    ),
    secret(
        "tunnel.access-client-id",
        "ACCESS_CLIENT_ID",
        "",
        "Service token of Cloudflare Access, which is registered",
    ),
    secret("tunnel.access-client-secret", "ACCESS_CLIENT_SECRET", "", "Its secret"),
    key(
        "tunnel.heartbeat-seconds",
        "HEARTBEAT_INTERVAL_SEC",
        "heartbeat-interval-sec",
        "20",
        Kind::Number,
        "Seconds between two heartbeats",
    ),
    key(
        "sandbox-agent.url",
        "SANDBOX_AGENT_URL",
        "sandbox-agent-url",
        "http://127.0.0.1:2468",
        Kind::Text,
        "Address of the local sandbox-agent",
    ),
    secret("sandbox-agent.token", "SANDBOX_AGENT_TOKEN", "", "Its token, which is registered too"),
    key(
        "sandbox-agent.start",
        "AUTO_START_SANDBOX_AGENT",
        "auto-start-sandbox-agent",
        "1",
        Kind::Switch,
        "Start it when it does not answer",
    ),
    key(
        "sandbox-agent.repo",
        "SANDBOX_AGENT_REPO",
        "sandbox-agent-repo",
        "",
        Kind::Text,
        "Its sources, where the program is not on the path",
    ),
];
