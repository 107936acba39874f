//! Every route of the service (agents.md 2.4, 18.1). Paths are taken apart here and nowhere else.

use http::Method;
use pg_sync::paths;
use web::url;

use super::mailbox_routes::RunnerVerb;
use super::transcripts::TranscriptVerb;
use super::view::View;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `/health`.
    Health,
    /// Below one of the service's own prefixes; none when there is nothing there.
    Inside(Option<Found>),
    /// `GET /sessions/view`, `GET /sessions/:id/view`, and the files of these pages: anybody may have them.
    View(View),
    /// Below the prefix of logs that are read as streams, whatever the method (pg-sync.md 4.14).
    Stream(Stream),
    /// Anywhere else.
    Outside,
}

/// Where a request about a stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `/_electric/pg-sync/register`.
    Register,
    /// `/_electric/pg-sync/:owner/:source`.
    Log {
        /// The hash of the owner.
        owner: String,
        /// The name of the source.
        source_ref: String,
    },
    /// Nowhere.
    Nowhere,
}

/// A route that a request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path as a pattern.
    pub pattern: &'static str,
    /// What is asked for.
    pub target: Target,
}

/// What is asked for. Ids are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `POST /auth/chatgpt/import`.
    Import,
    /// `GET /auth/chatgpt/status`.
    LoginStatus,
    /// `DELETE /auth/chatgpt`.
    Logout,
    /// `GET /runners`.
    Runners,
    /// `POST /runners`.
    RegisterRunner,
    /// `GET /runners/:id`.
    Runner(String),
    /// `DELETE /runners/:id`.
    DeleteRunner(String),
    /// `POST /runners/:id/heartbeat`.
    Heartbeat(String),
    /// What a runner that calls us asks below `/runners/:id` (session-mailbox.md 7.2–7.6).
    OfRunner(String, RunnerVerb),
    /// `GET /agents/openapi.json`.
    OpenApi,
    /// `GET /agents/admin/overview`.
    Overview,
    /// `GET /agents/webhooks`.
    Webhooks,
    /// `POST /agents/webhooks`.
    AddWebhook,
    /// `DELETE /agents/webhooks/:id`.
    DeleteWebhook(String),
    /// `GET /agents/webhooks/:id/deliveries`.
    Deliveries(String),
    /// `POST /agents/webhooks/:id/deliveries/:delivery-id/replay`.
    Replay(String, String),
    /// `POST /agents/github/webhook`.
    GitHubWebhook,
    /// `GET /sessions`.
    Sessions,
    /// `POST /sessions`.
    Create,
    /// `GET /sessions/:id/observer-token`.
    ObserverToken(String),
    /// What is kept of the conversation of a session (transcripts.md 4.4).
    Transcript(String, TranscriptVerb),
    /// `POST /sessions/:id/git-credentials`: what git in a sandbox asks (agents.md 20.6).
    GitCredentials(String),
    /// `/sessions/:id/mcp`: an agent calls tools of its session (pg-sync.md 4.12). Methods that the protocol has no use for are told so.
    Mcp(String),
    /// `GET`, `POST` and `DELETE /worker/transcript/snapshot`: the same, for clients of 7.2.
    TranscriptAlias,
    /// `GET /pg-sync/:source-id/changes` (pg-sync.md 4.2).
    Changes(String),
    /// `GET /pg-connections` (pg-sync.md 4.11).
    Connections,
    /// `PUT /pg-connections/:name`.
    PutConnection(String),
    /// `DELETE /pg-connections/:name`.
    DeleteConnection(String),
    /// `POST /pg-connections/:name/test`.
    TestConnection(String),
    /// Everything else of a session, which its object answers.
    Session(String, Verb),
}

/// What the object of a session is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `GET /sessions/:id`.
    Status,
    /// `POST …/messages`.
    Messages,
    /// `POST …/pause`.
    Pause,
    /// `POST …/resume`.
    Resume,
    /// `POST …/interrupt`.
    Interrupt,
    /// `POST …/cancel`.
    Cancel,
    /// `POST …/pr`.
    Publish,
    /// `POST …/snapshot`.
    Snapshot,
    /// `GET …/events`.
    Events,
    /// `GET …/branches`.
    Branches,
    /// `POST …/move`.
    Move,
    /// `POST …/archive`.
    Archive,
    /// `POST …/unarchive`.
    Unarchive,
    /// `DELETE /sessions/:id`.
    Delete,
    /// `GET …/files`.
    Files,
    /// `GET …/diff`.
    Diff,
    /// `GET …/budget`.
    Budget,
    /// `POST …/budget`.
    SetBudget,
    /// `GET …/terminal`.
    Terminal,
    /// `GET …/stream`.
    Stream,
    /// `GET …/approvals`.
    Approvals,
    /// `POST …/approvals/:request-id`.
    Decide(String),
    /// `POST …/pg-sync` (pg-sync.md 4.2).
    Observe,
    /// `GET …/pg-sync`.
    Observations,
    /// `DELETE …/pg-sync/:source-id`.
    Unobserve(String),
    /// `POST …/pg-sync/:source-id/retry`.
    RetryObservation(String),
}

impl Verb {
    /// The path of the object.
    pub fn path(&self) -> String {
        let word = match self {
            Self::Status => "status",
            Self::Messages => "messages",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Interrupt => "interrupt",
            Self::Cancel => "cancel",
            Self::Publish => "pr",
            Self::Snapshot => "snapshot",
            Self::Events => "events",
            Self::Branches => "branches",
            Self::Move => "move",
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
            Self::Delete => "delete",
            Self::Files => "files",
            Self::Diff => "diff",
            Self::Budget | Self::SetBudget => "budget",
            Self::Terminal => "terminal",
            Self::Stream => "stream",
            Self::Approvals => "approvals",
            Self::Decide(id) => return format!("approvals/{}", url::encode(id)),
            Self::Observe | Self::Observations => "pg-sync",
            Self::Unobserve(id) => return format!("pg-sync/{}", url::encode(id)),
            Self::RetryObservation(id) => return format!("pg-sync-retry/{}", url::encode(id)),
        };
        word.to_owned()
    }

    /// Whether the query goes to the object.
    pub fn takes_query(&self) -> bool {
        matches!(self, Self::Events | Self::Branches | Self::Files | Self::Diff | Self::Terminal | Self::Stream)
    }

    /// Whether the token of an agent for its tools is enough (pg-sync.md 4.2).
    pub fn is_for_tools(&self) -> bool {
        matches!(self, Self::Observe | Self::Observations | Self::Unobserve(_))
    }

    /// Whether an observer token is enough.
    pub fn is_for_observers(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Events | Self::Stream | Self::Approvals | Self::Budget | Self::Files | Self::Diff
        )
    }
}

/// The ids of a path in their order, decoded; empty where the path has fewer.
#[derive(Default)]
struct Ids {
    first: String,
    second: String,
    third: String,
}

/// How something is asked for.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; a segment that begins with a colon stands for an id.
    pub pattern: &'static str,
    target: fn(Ids) -> Target,
}

const fn get(pattern: &'static str, target: fn(Ids) -> Target) -> Route {
    Route { method: Method::GET, pattern, target }
}

const fn post(pattern: &'static str, target: fn(Ids) -> Target) -> Route {
    Route { method: Method::POST, pattern, target }
}

const fn delete(pattern: &'static str, target: fn(Ids) -> Target) -> Route {
    Route { method: Method::DELETE, pattern, target }
}

const fn put(pattern: &'static str, target: fn(Ids) -> Target) -> Route {
    Route { method: Method::PUT, pattern, target }
}

/// Every route below the prefixes. `tests/front/table.rs` has a case for each, `tests/front/transcripts.rs`, `git_credentials.rs`,
/// `github.rs`, `mcp.rs`, `operator.rs` and `mailbox.rs` for those that take other tokens, or none.
pub static ROUTES: [Route; 73] = [
    post("/auth/chatgpt/import", |_| Target::Import),
    get("/auth/chatgpt/status", |_| Target::LoginStatus),
    delete("/auth/chatgpt", |_| Target::Logout),
    get("/runners", |_| Target::Runners),
    post("/runners", |_| Target::RegisterRunner),
    get("/runners/:id", |ids| Target::Runner(ids.first)),
    delete("/runners/:id", |ids| Target::DeleteRunner(ids.first)),
    post("/runners/:id/heartbeat", |ids| Target::Heartbeat(ids.first)),
    post("/runners/:id/token", |ids| Target::OfRunner(ids.first, RunnerVerb::Token)),
    post("/runners/:id/detach", |ids| Target::OfRunner(ids.first, RunnerVerb::Detach)),
    post("/runners/:id/attach", |ids| Target::OfRunner(ids.first, RunnerVerb::Attach)),
    post("/runners/:id/poll", |ids| Target::OfRunner(ids.first, RunnerVerb::Poll)),
    post("/runners/:id/acks", |ids| Target::OfRunner(ids.first, RunnerVerb::Acks)),
    post("/runners/:id/leases", |ids| Target::OfRunner(ids.first, RunnerVerb::Leases)),
    post("/runners/:id/notices", |ids| Target::OfRunner(ids.first, RunnerVerb::Notices)),
    post("/runners/:id/sessions/:session-id/notices", |ids| {
        Target::OfRunner(ids.first, RunnerVerb::SessionNotices(ids.second))
    }),
    post("/runners/:id/sessions/:session-id/events", |ids| Target::OfRunner(ids.first, RunnerVerb::Events(ids.second))),
    put("/runners/:id/sessions/:session-id/files/:sha256", |ids| {
        Target::OfRunner(ids.first, RunnerVerb::File(ids.second, ids.third))
    }),
    get("/runners/:id/sessions/:session-id/files/:sha256", |ids| {
        Target::OfRunner(ids.first, RunnerVerb::File(ids.second, ids.third))
    }),
    get("/agents/openapi.json", |_| Target::OpenApi),
    get("/agents/admin/overview", |_| Target::Overview),
    get("/agents/webhooks", |_| Target::Webhooks),
    post("/agents/webhooks", |_| Target::AddWebhook),
    delete("/agents/webhooks/:id", |ids| Target::DeleteWebhook(ids.first)),
    get("/agents/webhooks/:id/deliveries", |ids| Target::Deliveries(ids.first)),
    post("/agents/webhooks/:id/deliveries/:delivery-id/replay", |ids| Target::Replay(ids.first, ids.second)),
    post("/agents/github/webhook", |_| Target::GitHubWebhook),
    get("/sessions", |_| Target::Sessions),
    post("/sessions", |_| Target::Create),
    get("/sessions/:id", |ids| Target::Session(ids.first, Verb::Status)),
    delete("/sessions/:id", |ids| Target::Session(ids.first, Verb::Delete)),
    get("/sessions/:id/observer-token", |ids| Target::ObserverToken(ids.first)),
    post("/sessions/:id/messages", |ids| Target::Session(ids.first, Verb::Messages)),
    post("/sessions/:id/pause", |ids| Target::Session(ids.first, Verb::Pause)),
    post("/sessions/:id/resume", |ids| Target::Session(ids.first, Verb::Resume)),
    post("/sessions/:id/interrupt", |ids| Target::Session(ids.first, Verb::Interrupt)),
    post("/sessions/:id/cancel", |ids| Target::Session(ids.first, Verb::Cancel)),
    post("/sessions/:id/pr", |ids| Target::Session(ids.first, Verb::Publish)),
    post("/sessions/:id/snapshot", |ids| Target::Session(ids.first, Verb::Snapshot)),
    get("/sessions/:id/events", |ids| Target::Session(ids.first, Verb::Events)),
    get("/sessions/:id/branches", |ids| Target::Session(ids.first, Verb::Branches)),
    post("/sessions/:id/move", |ids| Target::Session(ids.first, Verb::Move)),
    post("/sessions/:id/archive", |ids| Target::Session(ids.first, Verb::Archive)),
    post("/sessions/:id/unarchive", |ids| Target::Session(ids.first, Verb::Unarchive)),
    get("/sessions/:id/files", |ids| Target::Session(ids.first, Verb::Files)),
    get("/sessions/:id/diff", |ids| Target::Session(ids.first, Verb::Diff)),
    get("/sessions/:id/budget", |ids| Target::Session(ids.first, Verb::Budget)),
    post("/sessions/:id/budget", |ids| Target::Session(ids.first, Verb::SetBudget)),
    get("/sessions/:id/terminal", |ids| Target::Session(ids.first, Verb::Terminal)),
    get("/sessions/:id/transcript", |ids| Target::Transcript(ids.first, TranscriptVerb::Read)),
    delete("/sessions/:id/transcript", |ids| Target::Transcript(ids.first, TranscriptVerb::Reset)),
    put("/sessions/:id/runs/:run/transcript", |ids| Target::Transcript(ids.first, TranscriptVerb::Store(ids.second))),
    post("/sessions/:id/runs/:run/token", |ids| Target::Transcript(ids.first, TranscriptVerb::Token(ids.second))),
    post("/sessions/:id/pg-sync", |ids| Target::Session(ids.first, Verb::Observe)),
    get("/sessions/:id/pg-sync", |ids| Target::Session(ids.first, Verb::Observations)),
    delete("/sessions/:id/pg-sync/:source-id", |ids| Target::Session(ids.first, Verb::Unobserve(ids.second))),
    post("/sessions/:id/pg-sync/:source-id/retry", |ids| {
        Target::Session(ids.first, Verb::RetryObservation(ids.second))
    }),
    get("/pg-sync/:source-id/changes", |ids| Target::Changes(ids.first)),
    get("/pg-connections", |_| Target::Connections),
    put("/pg-connections/:name", |ids| Target::PutConnection(ids.first)),
    delete("/pg-connections/:name", |ids| Target::DeleteConnection(ids.first)),
    post("/pg-connections/:name/test", |ids| Target::TestConnection(ids.first)),
    post("/sessions/:id/git-credentials", |ids| Target::GitCredentials(ids.first)),
    post("/sessions/:id/mcp", |ids| Target::Mcp(ids.first)),
    get("/sessions/:id/mcp", |ids| Target::Mcp(ids.first)),
    put("/sessions/:id/mcp", |ids| Target::Mcp(ids.first)),
    delete("/sessions/:id/mcp", |ids| Target::Mcp(ids.first)),
    get("/worker/transcript/snapshot", |_| Target::TranscriptAlias),
    post("/worker/transcript/snapshot", |_| Target::TranscriptAlias),
    delete("/worker/transcript/snapshot", |_| Target::TranscriptAlias),
    get("/sessions/:id/stream", |ids| Target::Session(ids.first, Verb::Stream)),
    get("/sessions/:id/approvals", |ids| Target::Session(ids.first, Verb::Approvals)),
    post("/sessions/:id/approvals/:request-id", |ids| Target::Session(ids.first, Verb::Decide(ids.second))),
];

impl Route {
    /// What is asked for by this path, taken apart and decoded, if it is one of this route.
    fn target(&self, segments: &[String]) -> Option<Target> {
        let (mut names, mut ids) = (self.pattern.split('/').skip(1), Ids::default());
        for segment in segments {
            let name = names.next()?;
            if !name.starts_with(':') {
                if name != segment {
                    return None;
                }
            } else if segment.is_empty() {
                return None;
            } else if ids.first.is_empty() {
                ids.first.clone_from(segment);
            } else if ids.second.is_empty() {
                ids.second.clone_from(segment);
            } else {
                ids.third.clone_from(segment);
            }
        }
        names.next().is_none().then(|| (self.target)(ids))
    }
}

/// Prefixes of the service. They match without a slash, as the reference's do.
const PREFIXES: [&str; 4] = ["/auth", "/sessions", "/runners", "/worker/"];
/// Prefixes of the additions, which end with a segment (agents.md 2.1).
const ADDED: [&str; 6] = [
    "/agents/webhooks",
    "/agents/github/webhook",
    "/agents/openapi.json",
    "/agents/admin/overview",
    "/pg-sync",
    "/pg-connections",
];
/// More segments than any route has are not looked at.
const MAX_SEGMENTS: usize = 6;

/// Where a request goes.
pub fn place(method: &Method, path: &str) -> Place {
    if path == "/health" {
        return Place::Health;
    }
    // Looked at as it is: what would have to be decoded first is nowhere.
    match paths::Place::of(path) {
        Some(paths::Place::Register) => return Place::Stream(Stream::Register),
        Some(paths::Place::Stream { owner, source_ref }) => {
            let (owner, source_ref) = (owner.to_owned(), source_ref.to_owned());
            return Place::Stream(Stream::Log { owner, source_ref });
        }
        Some(paths::Place::Nowhere) => return Place::Stream(Stream::Nowhere),
        None => {}
    }
    let is_added =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !PREFIXES.iter().any(|prefix| path.starts_with(prefix)) && !ADDED.into_iter().any(is_added) {
        return Place::Outside;
    }
    let segments: Option<Vec<String>> = path.split('/').skip(1).take(MAX_SEGMENTS + 1).map(url::decode).collect();
    let Some(segments) = segments else { return Place::Inside(None) };
    if let Some(view) = view(method, &segments) {
        return Place::View(view);
    }
    let mut routes = ROUTES.iter().filter(|route| route.method == *method);
    Place::Inside(routes.find_map(|route| Some(Found { pattern: route.pattern, target: route.target(&segments)? })))
}

fn view(method: &Method, segments: &[String]) -> Option<View> {
    let words: Vec<&str> = segments.iter().map(String::as_str).filter(|_| method == Method::GET).collect();
    Some(match words.as_slice() {
        ["sessions", "view"] => View::List,
        ["sessions", "view", "assets", hash, name] => View::Asset((*hash).to_owned(), (*name).to_owned()),
        ["sessions", id, "view"] if !id.is_empty() => View::Session,
        _ => return None,
    })
}

impl Place {
    /// The route as a pattern, for reports: no id of anybody is in it.
    pub fn pattern(&self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Outside | Self::Inside(None) => "none",
            Self::View(View::Session) => "/sessions/:id/view",
            Self::View(View::List) => "/sessions/view",
            Self::View(View::Asset(..)) => "/sessions/view/assets",
            Self::Stream(Stream::Register) => paths::Place::Register.pattern(),
            Self::Stream(Stream::Log { .. }) => "/_electric/pg-sync/:owner/:source",
            Self::Stream(Stream::Nowhere) => paths::Place::Nowhere.pattern(),
            Self::Inside(Some(found)) => found.pattern,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(method: &Method, path: &str) -> Option<Target> {
        match place(method, path) {
            Place::Inside(found) => found.map(|found| found.target),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn routes_by_method_and_path() {
        let session = |verb| Some(Target::Session("s1".to_owned(), verb));
        for (method, path, expected) in [
            (Method::POST, "/auth/chatgpt/import", Some(Target::Import)),
            (Method::GET, "/auth/chatgpt/status", Some(Target::LoginStatus)),
            (Method::DELETE, "/auth/chatgpt", Some(Target::Logout)),
            (Method::POST, "/sessions", Some(Target::Create)),
            (Method::GET, "/sessions", Some(Target::Sessions)),
            (Method::GET, "/sessions/s1", session(Verb::Status)),
            (Method::POST, "/sessions/s1/messages", session(Verb::Messages)),
            (Method::POST, "/sessions/s1/pause", session(Verb::Pause)),
            (Method::POST, "/sessions/s1/resume", session(Verb::Resume)),
            (Method::POST, "/sessions/s1/interrupt", session(Verb::Interrupt)),
            (Method::POST, "/sessions/s1/cancel", session(Verb::Cancel)),
            (Method::POST, "/sessions/s1/pr", session(Verb::Publish)),
            (Method::POST, "/sessions/s1/snapshot", session(Verb::Snapshot)),
            (Method::GET, "/sessions/s1/events", session(Verb::Events)),
            (Method::GET, "/sessions/s1/branches", session(Verb::Branches)),
            (Method::POST, "/sessions/s1/archive", session(Verb::Archive)),
            (Method::POST, "/sessions/s1/unarchive", session(Verb::Unarchive)),
            (Method::DELETE, "/sessions/s1", session(Verb::Delete)),
            (Method::GET, "/sessions/s1/files", session(Verb::Files)),
            (Method::GET, "/sessions/s1/diff", session(Verb::Diff)),
            (Method::GET, "/sessions/s1/budget", session(Verb::Budget)),
            (Method::POST, "/sessions/s1/budget", session(Verb::SetBudget)),
            (Method::POST, "/sessions/view", None),
            (Method::GET, "/sessions/s1/terminal", session(Verb::Terminal)),
            (Method::GET, "/sessions/s1/stream", session(Verb::Stream)),
            (Method::GET, "/sessions/s1/approvals", session(Verb::Approvals)),
            (Method::POST, "/sessions/s1/approvals/a%2Fb", session(Verb::Decide("a/b".to_owned()))),
            (Method::POST, "/sessions/s1/pg-sync", session(Verb::Observe)),
            (Method::GET, "/sessions/s1/pg-sync", session(Verb::Observations)),
            (Method::DELETE, "/sessions/s1/pg-sync/o1", session(Verb::Unobserve("o1".to_owned()))),
            (Method::POST, "/sessions/s1/pg-sync/o1/retry", session(Verb::RetryObservation("o1".to_owned()))),
            (Method::GET, "/pg-sync/o1/changes", Some(Target::Changes("o1".to_owned()))),
            (Method::GET, "/pg-sync", None),
            (Method::GET, "/pg-connections", Some(Target::Connections)),
            (Method::PUT, "/pg-connections/main", Some(Target::PutConnection("main".to_owned()))),
            (Method::DELETE, "/pg-connections/main", Some(Target::DeleteConnection("main".to_owned()))),
            (Method::POST, "/pg-connections/main/test", Some(Target::TestConnection("main".to_owned()))),
            (Method::GET, "/pg-connections/main", None),
            (Method::GET, "/sessions/s1/observer-token", Some(Target::ObserverToken("s1".to_owned()))),
            (Method::POST, "/runners", Some(Target::RegisterRunner)),
            (Method::GET, "/runners", Some(Target::Runners)),
            (Method::GET, "/runners/r", Some(Target::Runner("r".to_owned()))),
            (Method::DELETE, "/runners/r", Some(Target::DeleteRunner("r".to_owned()))),
            (Method::POST, "/runners/r/heartbeat", Some(Target::Heartbeat("r".to_owned()))),
            (Method::GET, "/agents/openapi.json", Some(Target::OpenApi)),
            (Method::GET, "/agents/admin/overview", Some(Target::Overview)),
            (Method::POST, "/agents/admin/overview", None),
            (Method::GET, "/agents/webhooks", Some(Target::Webhooks)),
            (Method::POST, "/agents/webhooks", Some(Target::AddWebhook)),
            (Method::DELETE, "/agents/webhooks/w", Some(Target::DeleteWebhook("w".to_owned()))),
            (Method::GET, "/agents/webhooks/w/deliveries", Some(Target::Deliveries("w".to_owned()))),
            (
                Method::POST,
                "/agents/webhooks/w/deliveries/d%2Fe/replay",
                Some(Target::Replay("w".to_owned(), "d/e".to_owned())),
            ),
            (Method::POST, "/agents/github/webhook", Some(Target::GitHubWebhook)),
            (Method::GET, "/agents/github/webhook", None),
            (Method::POST, "/agents/github/webhook/", None),
            (Method::GET, "/agents/webhooks/w", None),
            (Method::DELETE, "/agents/webhooks/", None),
            (Method::POST, "/agents/webhooks/w/deliveries//replay", None),
            (Method::POST, "/agents/webhooks/w/deliveries/d/replay/more", None),
            (Method::GET, "/sessions/", None),
            (Method::GET, "/sessions/s1/", None),
            (Method::GET, "/sessions//events", None),
            (Method::POST, "/sessions/s1", None),
            (Method::PUT, "/sessions/s1/pause", None),
            (Method::GET, "/sessions/s1/messages", None),
            (Method::GET, "/sessions/%zz", None),
            (Method::GET, "/sessions/s1/events/more/and/more", None),
            (Method::GET, "/sessionsx", None),
            (Method::GET, "/authorize", None),
            (Method::GET, "/runners/r/heartbeat", None),
        ] {
            assert_eq!(inside(&method, path), expected, "{method} {path}");
        }
        // A decoded name is one name, whatever is in it.
        let odd = inside(&Method::GET, "/sessions/..%2F..%2Fhealth/events");
        assert_eq!(odd, Some(Target::Session("../../health".to_owned(), Verb::Events)));
    }

    #[test]
    fn pages_are_nobodys() {
        let asset = View::Asset("abc".to_owned(), "api.js".to_owned());
        for (path, expected) in [
            ("/sessions/view", View::List),
            ("/sessions/s1/view", View::Session),
            ("/sessions/view/assets/abc/api.js", asset),
        ] {
            assert_eq!(place(&Method::GET, path), Place::View(expected), "{path}");
        }
        for path in ["/sessions//view", "/sessions/view/assets/api.js", "/sessions/view/assets/a/b/c"] {
            assert_eq!(inside(&Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn what_is_not_the_services() {
        assert_eq!(place(&Method::POST, "/health"), Place::Health);
        for path in [
            "/",
            "/graphs",
            "/healthy",
            "//sessions",
            "/session",
            "/AUTH",
            "/agents",
            "/agents/",
            "/agents/webhooksx",
            "/agents/admin",
            "/agents/openapi",
            "/agentsx",
        ] {
            assert_eq!(place(&Method::GET, path), Place::Outside, "{path}");
        }
    }
}
