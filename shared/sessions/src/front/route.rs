//! Every route of the service (agents.md 2.4, 18.1). Paths are taken apart here and nowhere else.

use http::Method;
use web::url;

use super::view::View;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `/health`.
    Health,
    /// Below one of the service's own prefixes; none when there is nothing there.
    Inside(Option<Target>),
    /// `GET /sessions/view`, `GET /sessions/:id/view`, and the files of these pages: anybody may have them.
    View(View),
    /// Anywhere else.
    Outside,
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
    /// `GET /sessions`.
    Sessions,
    /// `POST /sessions`.
    Create,
    /// `GET /sessions/:id/observer-token`.
    ObserverToken(String),
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
    /// `POST …/archive`.
    Archive,
    /// `POST …/unarchive`.
    Unarchive,
    /// `DELETE /sessions/:id`.
    Delete,
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
            Self::Archive => "archive",
            Self::Unarchive => "unarchive",
            Self::Delete => "delete",
            Self::Budget | Self::SetBudget => "budget",
            Self::Terminal => "terminal",
            Self::Stream => "stream",
            Self::Approvals => "approvals",
            Self::Decide(id) => return format!("approvals/{}", url::encode(id)),
        };
        word.to_owned()
    }

    /// Whether the query goes to the object.
    pub fn takes_query(&self) -> bool {
        matches!(self, Self::Events | Self::Branches | Self::Terminal | Self::Stream)
    }

    /// Whether an observer token is enough.
    pub fn is_for_observers(&self) -> bool {
        matches!(self, Self::Status | Self::Events | Self::Stream | Self::Approvals | Self::Budget)
    }
}

/// Prefixes of the service. They match without a slash, as the reference's do.
const PREFIXES: [&str; 3] = ["/auth", "/sessions", "/runners"];
/// Prefixes of the additions, which end with a segment (agents.md 2.1).
const ADDED: [&str; 1] = ["/agents/webhooks"];
/// More segments than any route has are not looked at.
const MAX_SEGMENTS: usize = 6;

/// Where a request goes.
pub fn place(method: &Method, path: &str) -> Place {
    if path == "/health" {
        return Place::Health;
    }
    let is_added =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !PREFIXES.iter().any(|prefix| path.starts_with(prefix)) && !ADDED.into_iter().any(is_added) {
        return Place::Outside;
    }
    let segments: Option<Vec<String>> = path.split('/').skip(1).take(MAX_SEGMENTS + 1).map(url::decode).collect();
    let Some(segments) = segments.filter(|segments| segments.len() <= MAX_SEGMENTS) else {
        return Place::Inside(None);
    };
    match view(method, &segments) {
        Some(view) => Place::View(view),
        None => Place::Inside(target(method, &segments)),
    }
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

fn target(method: &Method, segments: &[String]) -> Option<Target> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (get, post, delete) = (method == Method::GET, method == Method::POST, method == Method::DELETE);
    Some(match words.as_slice() {
        ["auth", "chatgpt", "import"] if post => Target::Import,
        ["auth", "chatgpt", "status"] if get => Target::LoginStatus,
        ["auth", "chatgpt"] if delete => Target::Logout,
        ["runners"] if get => Target::Runners,
        ["runners"] if post => Target::RegisterRunner,
        ["runners", id] if get && !id.is_empty() => Target::Runner((*id).to_owned()),
        ["runners", id] if delete && !id.is_empty() => Target::DeleteRunner((*id).to_owned()),
        ["runners", id, "heartbeat"] if post && !id.is_empty() => Target::Heartbeat((*id).to_owned()),
        ["agents", "webhooks"] if get => Target::Webhooks,
        ["agents", "webhooks"] if post => Target::AddWebhook,
        ["agents", "webhooks", id] if delete && !id.is_empty() => Target::DeleteWebhook((*id).to_owned()),
        ["agents", "webhooks", id, "deliveries"] if get && !id.is_empty() => Target::Deliveries((*id).to_owned()),
        ["agents", "webhooks", id, "deliveries", delivery, "replay"]
            if post && !id.is_empty() && !delivery.is_empty() =>
        {
            Target::Replay((*id).to_owned(), (*delivery).to_owned())
        }
        ["sessions"] if get => Target::Sessions,
        ["sessions"] if post => Target::Create,
        ["sessions", id, rest @ ..] if !id.is_empty() => of_session(id, rest, method)?,
        _ => return None,
    })
}

fn of_session(id: &str, rest: &[&str], method: &Method) -> Option<Target> {
    let (get, post) = (method == Method::GET, method == Method::POST);
    let verb = match rest {
        [] if get => Verb::Status,
        [] if method == Method::DELETE => Verb::Delete,
        ["observer-token"] if get => return Some(Target::ObserverToken(id.to_owned())),
        ["messages"] if post => Verb::Messages,
        ["pause"] if post => Verb::Pause,
        ["resume"] if post => Verb::Resume,
        ["interrupt"] if post => Verb::Interrupt,
        ["cancel"] if post => Verb::Cancel,
        ["pr"] if post => Verb::Publish,
        ["snapshot"] if post => Verb::Snapshot,
        ["events"] if get => Verb::Events,
        ["branches"] if get => Verb::Branches,
        ["archive"] if post => Verb::Archive,
        ["unarchive"] if post => Verb::Unarchive,
        ["budget"] if get => Verb::Budget,
        ["budget"] if post => Verb::SetBudget,
        ["terminal"] if get => Verb::Terminal,
        ["stream"] if get => Verb::Stream,
        ["approvals"] if get => Verb::Approvals,
        ["approvals", request] if post && !request.is_empty() => Verb::Decide((*request).to_owned()),
        _ => return None,
    };
    Some(Target::Session(id.to_owned(), verb))
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
            Self::Inside(Some(target)) => match target {
                Target::Import => "/auth/chatgpt/import",
                Target::LoginStatus => "/auth/chatgpt/status",
                Target::Logout => "/auth/chatgpt",
                Target::Runners | Target::RegisterRunner => "/runners",
                Target::Runner(_) | Target::DeleteRunner(_) => "/runners/:id",
                Target::Heartbeat(_) => "/runners/:id/heartbeat",
                Target::Webhooks | Target::AddWebhook => "/agents/webhooks",
                Target::DeleteWebhook(_) => "/agents/webhooks/:id",
                Target::Deliveries(_) => "/agents/webhooks/:id/deliveries",
                Target::Replay(..) => "/agents/webhooks/:id/deliveries/:delivery-id/replay",
                Target::Sessions | Target::Create => "/sessions",
                Target::ObserverToken(_) => "/sessions/:id/observer-token",
                Target::Session(_, Verb::Status | Verb::Delete) => "/sessions/:id",
                Target::Session(_, Verb::Decide(_) | Verb::Approvals) => "/sessions/:id/approvals",
                Target::Session(_, Verb::Stream) => "/sessions/:id/stream",
                Target::Session(_, Verb::Events) => "/sessions/:id/events",
                Target::Session(_, _) => "/sessions/:id/verb",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(method: &Method, path: &str) -> Option<Target> {
        match place(method, path) {
            Place::Inside(target) => target,
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
            (Method::GET, "/sessions/s1/budget", session(Verb::Budget)),
            (Method::POST, "/sessions/s1/budget", session(Verb::SetBudget)),
            (Method::GET, "/sessions/s1/terminal", session(Verb::Terminal)),
            (Method::GET, "/sessions/s1/stream", session(Verb::Stream)),
            (Method::GET, "/sessions/s1/approvals", session(Verb::Approvals)),
            (Method::POST, "/sessions/s1/approvals/a%2Fb", session(Verb::Decide("a/b".to_owned()))),
            (Method::GET, "/sessions/s1/observer-token", Some(Target::ObserverToken("s1".to_owned()))),
            (Method::POST, "/runners", Some(Target::RegisterRunner)),
            (Method::GET, "/runners", Some(Target::Runners)),
            (Method::GET, "/runners/r", Some(Target::Runner("r".to_owned()))),
            (Method::DELETE, "/runners/r", Some(Target::DeleteRunner("r".to_owned()))),
            (Method::POST, "/runners/r/heartbeat", Some(Target::Heartbeat("r".to_owned()))),
            (Method::GET, "/agents/webhooks", Some(Target::Webhooks)),
            (Method::POST, "/agents/webhooks", Some(Target::AddWebhook)),
            (Method::DELETE, "/agents/webhooks/w", Some(Target::DeleteWebhook("w".to_owned()))),
            (Method::GET, "/agents/webhooks/w/deliveries", Some(Target::Deliveries("w".to_owned()))),
            (
                Method::POST,
                "/agents/webhooks/w/deliveries/d%2Fe/replay",
                Some(Target::Replay("w".to_owned(), "d/e".to_owned())),
            ),
            (Method::GET, "/agents/webhooks/w", None),
            (Method::DELETE, "/agents/webhooks/", None),
            (Method::POST, "/agents/webhooks/w/deliveries//replay", None),
            (Method::POST, "/agents/webhooks/w/deliveries/d/replay/more", None),
            (Method::POST, "/sessions/view", None),
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
            "/agentsx",
        ] {
            assert_eq!(place(&Method::GET, path), Place::Outside, "{path}");
        }
    }
}
