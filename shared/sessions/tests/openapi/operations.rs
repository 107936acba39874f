//! What each route takes and answers.

use serde_json::{Map, Value, json};
use sessions::error::Error;
use sessions::pg_sync::PgSyncError;
use sessions::session::decide::Busy;
use sessions::session::{NoTransition, Status};
use transcripts::Refused;

use crate::refusals::group;
use crate::schemas::{exact, named, object};

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody.
    Anybody,
    /// A user.
    User,
    /// A user, or an observer of the session.
    Observer,
    /// Whoever has the operator's token.
    Operator,
    /// GitHub, by the signature of the body.
    GitHub,
    /// Whoever runs the agent of a session.
    Run,
    /// A user, or whoever runs the agent.
    UserOrRun,
    /// The agent of a session, with the token for its tools.
    Tool,
    /// A user, or such an agent.
    UserOrTool,
    /// A runner that calls us, with its own token.
    Runner,
    /// A user, or such a runner itself.
    UserOrRunner,
}

/// What an operation is.
pub(crate) struct Operation {
    /// The name of it.
    pub(crate) id: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    pub(crate) who: Who,
    /// Parameters of the query: name and schema.
    pub(crate) query: Vec<(&'static str, Value)>,
    /// The content of the body, by its type, and whether there must be one.
    pub(crate) body: Option<(Value, bool)>,
    /// Successful answers by status.
    pub(crate) answers: Map<String, Value>,
    pub(crate) refusals: Vec<Error>,
    /// Whether a request that is repeated with its key is answered as the first one was.
    pub(crate) keyed: bool,
}

fn operation(id: &'static str, who: Who, summary: &'static str) -> Operation {
    let refusals = match who {
        Who::Anybody | Who::GitHub => vec![],
        Who::Tool => vec![Error::Internal(String::new())],
        Who::Operator | Who::User | Who::Observer | Who::UserOrRunner | Who::UserOrTool => group("signed"),
        Who::Run => [group("run"), vec![Error::Internal(String::new())]].concat(),
        Who::Runner => vec![
            Error::NotFound,
            Error::MissingBody,
            Error::InvalidBody,
            Error::RequestTooLarge,
            Error::RateLimited(1),
            Error::Internal(String::new()),
        ],
        Who::UserOrRun => [group("signed"), group("session"), group("run")].concat(),
    };
    Operation { id, summary, who, query: vec![], body: None, answers: Map::new(), refusals, keyed: false }
}

impl Operation {
    fn answers(mut self, schema: Value) -> Self {
        self.answers.insert("200".to_owned(), json_content("Done", schema));
        self
    }

    fn or(mut self, status: &str, response: Value) -> Self {
        self.answers.insert(status.to_owned(), response);
        self
    }

    fn takes(mut self, schema: &str) -> Self {
        self.refusals.extend(group("body"));
        self.body = Some((json!({"application/json": {"schema": named(schema)}}), true));
        self
    }

    /// A body that may be missing.
    fn may_take(mut self, schema: &str) -> Self {
        self.refusals.extend([Error::InvalidBody, Error::RequestTooLarge]);
        self.body = Some((json!({"application/json": {"schema": named(schema)}}), false));
        self
    }

    fn query(mut self, name: &'static str, schema: Value) -> Self {
        self.query.push((name, schema));
        self
    }

    fn refuses(mut self, refusals: impl IntoIterator<Item = Error>) -> Self {
        self.refusals.extend(refusals);
        self
    }

    fn groups(mut self, names: &str) -> Self {
        for name in names.split_whitespace() {
            self.refusals.extend(group(name));
            self.keyed |= name == "keyed";
        }
        self
    }
}

fn json_content(description: &str, schema: Value) -> Value {
    let media = Map::from_iter([("schema".to_owned(), schema)]);
    json!({"description": description, "content": {"application/json": media}})
}

fn list(name: &str, schema: &str) -> Value {
    exact(name, &json!({name: {"type": "array", "items": named(schema)}}))
}

fn page(name: &str, schema: &str) -> Value {
    exact(name, &json!({name: {"type": "array", "items": named(schema)}, "next": {"type": "string"}}))
}

fn one(name: &str, schema: &str) -> Value {
    exact(name, &json!({name: named(schema)}))
}

fn number() -> Value {
    json!({"type": "integer"})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn transition(to: Status) -> Error {
    Error::Transition(NoTransition { from: Status::Created, to })
}

fn refused(refused: Refused) -> Error {
    Error::transcript(refused, false)
}

fn no_content(description: &str) -> Value {
    json!({"description": description})
}

/// What a runner that calls us asks (session-mailbox.md 7): the specification has the members.
fn of_runner(id: &'static str, summary: &'static str) -> Operation {
    let mut asked = operation(id, Who::Runner, summary)
        .answers(object("", &json!({})))
        .or("401", json_content("No token, or none that counts", named("Refusal")))
        .or("409", json_content("Another process, lease or mailbox counts", named("Refusal")));
    asked.body = Some((json!({"application/json": {"schema": object("", &json!({}))}}), true));
    asked
}

/// A method that the protocol of tools has no use for here.
fn no_method_of_tools(id: &'static str, summary: &'static str) -> Operation {
    let mut refused = operation(id, Who::Tool, summary).or("405", json_content("Only POST", named("Refusal")));
    refused.refusals = vec![];
    refused
}

/// A file of the agent of a session.
fn runner_file(id: &'static str, summary: &'static str) -> Operation {
    let mut file = of_runner(id, summary);
    file.body = None;
    file
}

/// The operation of a route; none for a route that nobody has described.
#[expect(clippy::too_many_lines, reason = "one table of all routes")]
pub(crate) fn of(method: &str, pattern: &str) -> Option<Operation> {
    let done = || named("Done");
    Some(match (method, pattern) {
        ("GET", "/health") => operation("health", Who::Anybody, "Whether the service can serve")
            .answers(done())
            .refuses([Error::NotMigrated]),
        ("GET", "/agents/openapi.json") => {
            operation("describe", Who::Anybody, "This description").answers(object("openapi paths", &json!({})))
        }
        ("GET", "/agents/admin/overview") => {
            operation("overview", Who::Operator, "All sessions in numbers, and what is stuck").answers(named("Overview"))
        }
        ("POST", "/auth/chatgpt/import") => operation("importLogin", Who::User, "Stores a login with ChatGPT")
            .takes("ImportLogin")
            .answers(one("managed-auth", "Login"))
            .refuses([Error::ImportFailed, Error::SecretsKey]),
        ("GET", "/auth/chatgpt/status") => operation("loginStatus", Who::User, "The stored login").answers(exact(
            "managed-auth",
            &json!({"managed-auth": {"anyOf": [named("Login"), {"type": "null"}]}}),
        )),
        ("DELETE", "/auth/chatgpt") => operation("deleteLogin", Who::User, "Takes the login back").answers(done()),
        ("GET", "/runners") => {
            operation("listRunners", Who::User, "Machines of the caller").answers(list("runners", "Runner"))
        }
        ("POST", "/runners") => operation("registerRunner", Who::User, "Registers a machine")
            .takes("RegisterRunner")
            .answers(exact(
                "runner",
                &json!({"runner": named("Runner"), "runner-token": text(), "runner-token-expires-at": number()}),
            ))
            .groups("rate")
            .refuses([Error::TooManyRunners, Error::SecretsKey, Error::Register(String::new())])
            .refuses([Error::InvalidRunnerId, Error::RequestInProgress])
            .or("409", json_content("The name is another machine's, or nobody may call", named("Refusal"))),
        ("GET", "/runners/:id") => operation("runner", Who::User, "One machine")
            .answers(one("runner", "Runner"))
            .refuses([Error::NotFound]),
        ("DELETE", "/runners/:id") => {
            operation("deleteRunner", Who::UserOrRunner, "Removes a machine")
                .answers(done())
                .refuses([Error::NotFound])
        }
        ("POST", "/runners/:id/heartbeat") => operation("heartbeat", Who::User, "Says that a machine is there")
            .may_take("Heartbeat")
            .answers(one("runner", "Runner"))
            .refuses([Error::NotFound, Error::RunnerUsesMailbox]),
        ("POST", "/runners/:id/token") => of_runner("renewRunnerToken", "A new token of a runner that calls us"),
        ("POST", "/runners/:id/detach") => of_runner("detach", "A runner says that it goes"),
        ("POST", "/runners/:id/attach") => of_runner("attach", "A process of a runner begins"),
        ("POST", "/runners/:id/poll") => of_runner("poll", "Work for a runner"),
        ("POST", "/runners/:id/acks") => of_runner("acknowledge", "What became of it"),
        ("POST", "/runners/:id/leases") => of_runner("renewLeases", "A runner goes on with its sessions"),
        ("POST", "/runners/:id/notices") => of_runner("notice", "A runner reports something"),
        ("POST", "/runners/:id/sessions/:session-id/notices") => {
            of_runner("sessionNotice", "A runner reports something of a session")
        }
        ("POST", "/runners/:id/sessions/:session-id/events") => of_runner("runnerEvents", "What an agent said"),
        ("PUT", "/runners/:id/sessions/:session-id/files/:sha256") => {
            let mut put = runner_file("storeRunnerFile", "Keeps a file of an agent")
                .or("201", json_content("Kept", done()))
                .or("411", json_content("Its length is not told", named("Refusal")))
                .or("422", json_content("It has another digest", named("Refusal")))
                .or("507", json_content("There are too many", named("Refusal")));
            put.body = Some((
                json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}),
                true,
            ));
            put
        }
        ("GET", "/runners/:id/sessions/:session-id/files/:sha256") => runner_file("runnerFile", "The file again").or(
            "200",
            json!({"description": "The bytes", "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}),
        ),
        ("GET", "/agents/webhooks") => {
            operation("listWebhooks", Who::User, "Where the caller is notified").answers(list("webhooks", "Webhook"))
        }
        ("POST", "/agents/webhooks") => operation("addWebhook", Who::User, "Adds a place where the caller is notified")
            .takes("AddWebhook")
            .answers(exact("webhook secret", &json!({"webhook": named("Webhook"), "secret": text()})))
            .groups("rate session keyed")
            .refuses([Error::InvalidUrl, Error::TooManyWebhooks, Error::SecretsKey]),
        ("DELETE", "/agents/webhooks/:id") => operation("deleteWebhook", Who::User, "Removes one")
            .answers(done())
            .groups("rate")
            .refuses([Error::NotFound]),
        ("GET", "/agents/webhooks/:id/deliveries") => operation("listDeliveries", Who::User, "What was sent to one")
            .query("cursor", text())
            .answers(page("deliveries", "Delivery"))
            .refuses([Error::NotFound, Error::InvalidBody]),
        ("POST", "/agents/webhooks/:id/deliveries/:delivery-id/replay") => {
            operation("replayDelivery", Who::User, "Sends a notification again")
                .answers(done())
                .groups("rate keyed")
                .refuses([Error::NotFound, Error::WebhookDisabled, Error::InvalidBody])
        }
        ("GET", "/sessions") => operation("listSessions", Who::User, "Sessions that the caller may use")
            .query("graph-id", text())
            .query("status", text())
            .query("archived", json!({"enum": ["true", "false"]}))
            .query("limit", number())
            .query("cursor", text())
            .answers(page("sessions", "SessionSummary"))
            .refuses([Error::InvalidBody]),
        ("POST", "/sessions") => operation("createSession", Who::User, "Creates a session, or finds it again")
            .takes("CreateSession")
            .answers(named("Created"))
            .groups("rate session keyed")
            .refuses([
                Error::InvalidSessionId,
                Error::MessageTooLarge,
                Error::LoginRequired,
                Error::LoginExpired,
                Error::RunnerUnavailable,
                Error::NotInstalled { install_url: None },
                Error::InstallationCheck(String::new()),
                Error::TooManySessions,
                Error::SecretsKey,
            ]),
        ("GET", "/sessions/:id") => {
            operation("session", Who::Observer, "One session").answers(named("Session")).groups("session")
        }
        ("DELETE", "/sessions/:id") => {
            operation("deleteSession", Who::User, "Deletes a session with everything that belongs to it")
                .answers(done())
                .groups("session rate")
        }
        ("GET", "/sessions/:id/observer-token") => {
            operation("observerToken", Who::User, "A token with which one may watch a session")
                .answers(exact("token expires-at", &json!({"token": text(), "expires-at": number()})))
                .groups("session")
                .refuses([Error::SecretsKey])
        }
        ("POST", "/sessions/:id/messages") => operation("sendMessage", Who::User, "A message to the agent")
            .takes("Message")
            .answers(exact("ok", &json!({"ok": {"const": true}, "publish": named("Published")})))
            .groups("session rate keyed publish")
            .refuses([Error::MessageTooLarge, Error::QueueFull, Error::InvalidMessage]),
        ("POST", "/sessions/:id/pause") => operation("pause", Who::User, "Messages wait from now on")
            .answers(done())
            .groups("session rate")
            .refuses([transition(Status::Paused)]),
        ("POST", "/sessions/:id/resume") => operation("resume", Who::User, "Messages go on to the agent")
            .answers(exact("ok flushed", &json!({"ok": {"const": true}, "flushed": number()})))
            .groups("session rate")
            .refuses([transition(Status::Running), Error::BudgetReached(sessions::session::budget::Kind::Turns)]),
        ("POST", "/sessions/:id/interrupt") => operation("interrupt", Who::User, "Stops the turn that goes on")
            .answers(done())
            .groups("session rate")
            .refuses([transition(Status::Paused)]),
        ("POST", "/sessions/:id/cancel") => {
            operation("cancel", Who::User, "Ends the session").answers(done()).groups("session rate")
        }
        ("POST", "/sessions/:id/pr") => operation("publish", Who::User, "Pushes a branch, and opens a pull request")
            .may_take("Publish")
            .answers(named("Published"))
            .groups("session rate keyed publish"),
        ("POST", "/sessions/:id/snapshot") => operation("snapshot", Who::User, "Takes a snapshot of the sandbox")
            .answers(named("Snapshot"))
            .groups("session rate")
            .refuses([
                Error::NotWritable,
                Error::RuntimeUnavailable,
                Error::RequestInProgress,
                Error::Unsupported("words of the provider"),
                Error::Failed(String::new()),
            ]),
        ("GET", "/sessions/:id/events") => operation("listEvents", Who::Observer, "What has happened")
            .query("since", number())
            .query("cursor", number())
            .query("limit", number())
            .answers(exact(
                "events",
                &json!({"events": {"type": "array", "items": named("Event")}, "truncated": {"const": true}}),
            ))
            .groups("session"),
        ("GET", "/sessions/:id/stream") => operation("stream", Who::Observer, "What has happened and what happens")
            .query("since", number())
            .query("cursor", number())
            .query("heartbeat", json!({"enum": ["event"]}))
            .or("200", json!({"description": "Frames whose data is an event", "content": {"text/event-stream": {"schema": text()}}}))
            .groups("session")
            .refuses([Error::TooManyStreams]),
        ("GET", "/sessions/:id/files") => operation("files", Who::Observer, "A folder of the working tree, or a file")
            .query("path", text())
            .query("wake", json!({"enum": ["1"]}))
            .or(
                "200",
                json!({"description": "The entries, or the bytes", "content": {
                    "application/json": {"schema": named("Folder")},
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}),
            )
            .groups("session tree")
            .refuses([Error::InvalidPath, Error::FileTooLarge]),
        ("GET", "/sessions/:id/diff") => operation("diff", Who::Observer, "What a session has changed")
            .query("wake", json!({"enum": ["1"]}))
            .answers(named("Diff"))
            .groups("session tree"),
        ("POST", "/sessions/:id/pg-sync") => operation("observe", Who::UserOrTool, "Observes a table of a database")
            .takes("Observe")
            .answers(named("Observed"))
            .or("201", json_content("New", named("Observed")))
            .groups("session rate pg-sync observed")
            .refuses([Error::NotWritable]),
        ("GET", "/sessions/:id/pg-sync") => operation("observations", Who::UserOrTool, "What the session observes")
            .answers(list("observations", "Observation"))
            .groups("session pg-sync"),
        ("DELETE", "/sessions/:id/pg-sync/:source-id") => operation("unobserve", Who::UserOrTool, "Observes no more")
            .answers(exact("removed", &json!({"removed": {"const": true}})))
            .groups("session rate pg-sync"),
        ("POST", "/sessions/:id/pg-sync/:source-id/retry") => {
            operation("retryObservation", Who::User, "A bridge that waits goes on at once")
                .or("202", json_content("It goes on", done()))
                .groups("session rate pg-sync")
        }
        ("GET", "/pg-sync/:source-id/changes") => operation("listChanges", Who::User, "The log of what is observed")
            .query("after", number())
            .query("limit", number())
            .query("wait", number())
            .answers(named("Changes"))
            .groups("pg-sync")
            .refuses([Error::NotFound, PgSyncError::InvalidOptions(vec![]).into(), PgSyncError::Gone(0).into()]),
        ("GET", "/pg-connections") => operation("listConnections", Who::User, "Shape services of the caller")
            .answers(list("connections", "Connection"))
            .groups("pg-sync"),
        ("PUT", "/pg-connections/:name") => operation("putConnection", Who::User, "Stores one")
            .takes("PutConnection")
            .answers(named("Connection"))
            .or("201", json_content("New", named("Connection")))
            .groups("rate pg-sync")
            .refuses([Error::NotFound, Error::SecretsKey])
            .refuses([PgSyncError::InvalidConnection(vec![]), PgSyncError::UrlNotAllowed].map(Error::from))
            .refuses([PgSyncError::Quota { limit: 0, scope: "connections" }.into()]),
        ("DELETE", "/pg-connections/:name") => operation("deleteConnection", Who::User, "Removes one")
            .answers(exact("removed sources", &json!({"removed": {"const": true}, "sources": number()})))
            .groups("rate pg-sync")
            .refuses([PgSyncError::ConnectionNotFound, PgSyncError::ReadOnly].map(Error::from)),
        ("POST", "/pg-connections/:name/test") => operation("testConnection", Who::User, "Asks one for a table")
            .takes("TestConnection")
            .answers(exact("ok ms", &json!({"ok": {"const": true}, "ms": number()})))
            .groups("rate pg-sync observed"),
        ("POST", "/sessions/:id/mcp") => {
            let mut call = operation("callTool", Who::Tool, "The Model Context Protocol: tools of the session's agent")
                .answers(object("jsonrpc", &json!({})))
                .or("202", no_content("A notification, or an answer to nothing"))
                .or("400", json_content("No message of JSON-RPC, or another version", object("error", &json!({}))))
                .or("401", json_content("No token, or none that counts", named("Refusal")))
                .or("403", json_content("A page of another origin", named("Refusal")))
                .or("406", json_content("JSON is not accepted", named("Refusal")))
                .refuses([Error::RequestTooLarge, Error::RateLimited(1), Error::InvalidBody, Error::NotFound]);
            call.body = Some((json!({"application/json": {"schema": object("jsonrpc", &json!({}))}}), true));
            call
        }
        ("GET", "/sessions/:id/mcp") => no_method_of_tools("streamTools", "Streams are not offered"),
        ("PUT", "/sessions/:id/mcp") => no_method_of_tools("putTools", "No such method"),
        ("DELETE", "/sessions/:id/mcp") => no_method_of_tools("endTools", "There are no sessions of the protocol"),
        ("POST", "/sessions/:id/git-credentials") => {
            let mut ask = operation("gitCredentials", Who::Run, "Credentials for git, in the words of its helpers")
                .or(
                    "200",
                    json!({"description": "Lines of key=value", "content": {"text/plain": {"schema": text()}}}),
                );
            ask.refusals = vec![
                Error::Unauthorized,
                Error::NotFound,
                Error::InvalidBody,
                Error::RequestTooLarge,
                Error::RateLimited(1),
                Error::SecretsKey,
                Error::Internal(String::new()),
            ];
            ask.body = Some((json!({"text/plain": {"schema": text()}}), true));
            ask
        }
        ("POST", "/agents/github/webhook") => {
            let mut take = operation("takeFromGitHub", Who::GitHub, "What is said about a pull request")
                .or("202", json_content("Written down, or ignored", done()))
                .refuses([
                    Error::Unauthorized,
                    Error::NotFound,
                    Error::MissingBody,
                    Error::InvalidBody,
                    Error::RequestTooLarge,
                    Error::Internal(String::new()),
                ]);
            take.body = Some((json!({"application/json": {"schema": {"type": "object"}}}), true));
            take
        }
        ("GET", "/sessions/:id/branches") => operation("listBranches", Who::User, "Branches of a repository")
            .query("repo-url", text())
            .answers(exact("branches", &json!({"branches": {"type": "array", "items": text()}})))
            .groups("session rate")
            .refuses([Error::MissingRepository]),
        ("POST", "/sessions/:id/move") => operation("move", Who::User, "Takes a session to another runtime")
            .takes("Move")
            .answers(done())
            .groups("session rate")
            .refuses([
                Error::NotWritable,
                Error::TurnRunning,
                Error::RunnerOffline,
                Error::RunnerUnavailable,
                Error::RuntimeUnavailable,
                Error::RequestInProgress,
            ]),
        ("POST", "/sessions/:id/archive") => operation("archive", Who::User, "Puts a session away")
            .answers(done())
            .groups("session rate")
            .refuses([Error::Busy(Busy)]),
        ("POST", "/sessions/:id/unarchive") => {
            operation("unarchive", Who::User, "Brings it back").answers(done()).groups("session rate")
        }
        ("GET", "/sessions/:id/budget") => {
            operation("budget", Who::Observer, "What a session may use, and has used")
                .answers(named("BudgetState"))
                .groups("session")
        }
        ("POST", "/sessions/:id/budget") => operation("setBudget", Who::User, "New limits")
            .takes("SetBudget")
            .answers(named("BudgetState"))
            .groups("session rate")
            .refuses([Error::BudgetBelowUse]),
        ("GET", "/sessions/:id/terminal") => operation("terminal", Who::User, "A WebSocket to a terminal in the sandbox")
            .query("cols", number())
            .query("rows", number())
            .query("token", text())
            .or("101", no_content("The terminal is open"))
            .groups("session rate")
            .refuses([
                Error::NotWritable,
                Error::RuntimeUnavailable,
                Error::Unsupported("words of the provider"),
                Error::TooManyTerminals,
                Error::Terminal(String::new()),
            ]),
        ("GET", "/sessions/:id/approvals") => operation("listApprovals", Who::Observer, "Tools that wait for a decision")
            .answers(list("approvals", "Approval"))
            .groups("session"),
        ("POST", "/sessions/:id/approvals/:request-id") => operation("decide", Who::User, "Allows a tool, or refuses it")
            .takes("Decision")
            .answers(done())
            .groups("session rate")
            .refuses([Error::ApprovalDecided]),
        ("GET", "/sessions/:id/transcript") => operation("transcript", Who::UserOrRun, "The conversation, to go on from")
            .query("run", text())
            .or("200", transcript())
            .or("204", no_content("There is none yet"))
            .or("206", transcript())
            .or("304", no_content("It is known already"))
            .refuses([refused(Refused::Range)]),
        ("DELETE", "/sessions/:id/transcript") => operation("resetTranscript", Who::UserOrRun, "The conversation begins anew")
            .answers(exact("deleted epoch", &json!({"deleted": number(), "epoch": number()})))
            .groups("rate"),
        ("PUT", "/sessions/:id/runs/:run/transcript") => {
            let mut put = operation("storeTranscript", Who::Run, "Keeps the conversation of a run")
                .answers(done())
                .groups("upload")
                .refuses([Error::NotFound]);
            let bytes = || json!({"schema": {"type": "string", "format": "binary"}});
            put.body = Some((json!({"application/x-ndjson": bytes(), "application/x-tar": bytes()}), true));
            put
        }
        ("POST", "/sessions/:id/runs/:run/token") => {
            let mut renew = operation("renewToken", Who::Run, "The same token for a further while")
                .answers(exact("token expires-at", &json!({"token": text(), "expires-at": number()})))
                .groups("upload")
                .refuses([Error::NotFound]);
            renew.body = Some((json!({"application/json": {"schema": named("RenewToken")}}), false));
            renew
        }
        ("GET", "/worker/transcript/snapshot") => {
            alias("workerTranscript", "The conversation, for clients of another service").or("200", transcript())
        }
        ("POST", "/worker/transcript/snapshot") => {
            let mut post = alias("storeWorkerTranscript", "Keeps the conversation, for clients of another service")
                .answers(exact("id", &json!({"id": number()})));
            post.body = Some((json!({"application/json": {"schema": named("TranscriptUpload")}}), true));
            post.refusals.extend(as_alias(group("upload")));
            post
        }
        ("DELETE", "/worker/transcript/snapshot") => {
            alias("resetWorkerTranscript", "The conversation begins anew, for clients of another service")
                .answers(exact("deleted epoch", &json!({"deleted": number(), "epoch": number()})))
        }
        _ => return None,
    })
}

fn alias(id: &'static str, summary: &'static str) -> Operation {
    let mut alias = operation(id, Who::Run, summary).refuses([Error::transcript(Refused::Invalid(""), true)]);
    alias.refusals = as_alias(alias.refusals);
    alias
}

fn as_alias(refusals: Vec<Error>) -> Vec<Error> {
    let as_alias = |error| match error {
        Error::Transcript { refused, .. } => Error::transcript(refused, true),
        other => other,
    };
    refusals.into_iter().map(as_alias).collect()
}

fn transcript() -> Value {
    let bytes = || json!({"schema": {"type": "string", "format": "binary"}});
    json!({"description": "A file, or an archive of several",
        "content": {"application/x-ndjson": bytes(), "application/x-tar": bytes()}})
}
