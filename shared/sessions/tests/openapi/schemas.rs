//! Bodies of requests and answers, and events, as schemas. Limits are the service's own constants.

use serde_json::{Map, Value, json};
use sessions::egress;
use sessions::event::Kind;
use sessions::request as limits;
use sessions::session::budget;
use sessions::webhook::Topic;

/// A reference to a schema by its name.
pub(crate) fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object whose members are known. `required` are separated by blanks.
pub(crate) fn object(required: &str, properties: &Value) -> Value {
    let mut schema = json!({"type": "object", "properties": properties});
    let required: Vec<&str> = required.split_whitespace().collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The same, without other members.
pub(crate) fn exact(required: &str, properties: &Value) -> Value {
    let mut schema = object(required, properties);
    schema["additionalProperties"] = false.into();
    schema
}

fn text() -> Value {
    json!({"type": "string"})
}

fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

fn int() -> Value {
    json!({"type": "integer"})
}

/// A number, where one is known.
fn side() -> Value {
    json!({"type": ["integer", "null"]})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn time() -> Value {
    json!({"type": "integer", "description": "Milliseconds since 1970"})
}

fn within(bytes: usize) -> Value {
    json!({"type": "string", "maxLength": bytes})
}

fn statuses() -> Value {
    json!({"enum": ["created", "running", "paused", "completed", "failed", "canceled"]})
}

fn providers() -> Value {
    json!({"enum": ["e2b", "local-runner", "local-dev", null]})
}

/// All schemas by their names.
pub(crate) fn all() -> Map<String, Value> {
    let mut schemas = Map::new();
    for group in [general(), sessions(), requests(), registered(), observed(), events()] {
        for (name, schema) in group {
            assert!(schemas.insert(name.to_owned(), schema).is_none(), "{name} twice");
        }
    }
    schemas
}

type Named = Vec<(&'static str, Value)>;

fn general() -> Named {
    let used = object(
        "turns minutes tokens cost",
        &json!({"turns": int(), "minutes": {"type": "number"}, "tokens": int(), "estimated": flag(),
            "cost": {"type": "array", "items": named("Money")}}),
    );
    vec![
        ("Refusal", object("error", &json!({"error": text(), "code": text()}))),
        ("Done", exact("ok", &json!({"ok": {"const": true}}))),
        ("Money", exact("amount currency", &json!({"amount": {"type": "number"}, "currency": text()}))),
        (
            "Budget",
            exact(
                "",
                &json!({"turns": named("Positive"), "minutes": named("Positive"), "tokens": named("Positive"),
                    "cost": exact("amount currency", &json!({"amount": named("Positive"),
                        "currency": {"type": "string", "pattern": "^[A-Za-z0-9]{1,16}$"}}))}),
            ),
        ),
        ("Positive", json!({"type": "number", "exclusiveMinimum": 0})),
        ("Used", used),
        (
            "Overview",
            exact(
                "sessions oldest-deadline intents orphans-ended outbox runners active-by-provider",
                &json!({
                    "sessions": {"type": "object", "additionalProperties": int()},
                    "oldest-deadline": {"anyOf": [{"type": "null"}, exact("session-id state overdue-ms",
                        &json!({"session-id": text(), "state": text(), "overdue-ms": int()}))]},
                    "intents": int(),
                    "orphans-ended": int(),
                    "outbox": exact("pending dead", &json!({"pending": int(), "dead": int()})),
                    "runners": exact("online offline", &json!({"online": int(), "offline": int()})),
                    "active-by-provider": {"type": "object", "additionalProperties": int()},
                }),
            ),
        ),
    ]
}

fn sessions() -> Named {
    let agent = json!({"anyOf": [text(), {"type": "object"}]});
    let summary = json!({"session-id": text(), "status": statuses(), "title": text(), "graph-id": text(),
        "runtime-provider": {"type": ["string", "null"]}, "created-at": time(), "updated-at": time()});
    let created = json!({"session-id": text(), "status": statuses(), "runtime-provider": providers(),
        "terminal-enabled": flag(), "stream-url": text(), "egress": {"const": "unrestricted"}});
    let audit = object("requested-by requested-at", &json!({"requested-by": text(), "requested-at": time()}));
    let session = json!({"session-id": text(), "status": statuses(), "runtime-provider": providers(),
        "runner": exact("runner-id online last-seen-at queued phase", &json!({"runner-id": text(), "online": flag(),
            "last-seen-at": time(), "queued": int(), "phase": text_or_null()})),
        "tools": exact("offered", &json!({"offered": flag(), "reason": {"enum": ["off", "no-keys", "no-address", "no-http", "runner"]}})),
        "terminal-enabled": flag(), "task": named("Task"), "audit": audit, "created-at": time(), "updated-at": time()});
    let option = exact(
        "optionId name kind",
        &json!({"optionId": text(), "name": text(), "kind": {"enum": ["allow_once", "allow_always", "reject_once", "reject_always"]}}),
    );
    let approval = json!({"request-id": text(), "call-id": text_or_null(), "tool": text_or_null(), "title": text_or_null(),
        "options": {"type": "array", "items": option, "minItems": 1, "maxItems": sessions::acp::MAX_OPTIONS}, "expires-at": time()});
    let entry = exact(
        "name type size modified",
        &json!({"name": text(), "type": {"enum": ["file", "dir", "link"]}, "size": int(), "modified": time()}),
    );
    let changed = exact(
        "path status binary",
        &json!({"path": text(), "status": {"enum": ["added", "deleted", "modified", "type-changed"]},
            "additions": side(), "deletions": side(), "binary": flag()}),
    );
    let kinds: Vec<&str> = budget::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let published = json!({"status": {"enum": ["pushed", "pr-created", "manual-pr-required"]}, "head-branch": text(),
        "base-branch": text(), "force": flag(), "message": text(), "pr-url": text(), "manual-pr-url": text(),
        "github-status": int(), "github-body": {}, "github-raw-body": text(),
        "github-response-headers": {"type": "object", "additionalProperties": text()}});
    vec![
        ("Task", object("id project agent", &json!({"id": text(), "project": {"type": "object"}, "agent": agent}))),
        ("SessionSummary", exact("session-id status title runtime-provider created-at updated-at", &summary)),
        ("Created", exact("session-id status runtime-provider terminal-enabled stream-url", &created)),
        (
            "Session",
            exact("session-id status runtime-provider terminal-enabled task audit created-at updated-at", &session),
        ),
        ("Approval", exact("request-id call-id tool title options expires-at", &approval)),
        (
            "BudgetState",
            exact(
                "budget used user-day reached",
                &json!({"budget": named("Budget"), "used": named("Used"),
                    "user-day": exact("budget used", &json!({"budget": named("Budget"), "used": named("Used")})),
                    "reached": {"type": "array", "items": {"enum": kinds}}}),
            ),
        ),
        (
            "Folder",
            exact(
                "path entries truncated",
                &json!({"path": text(), "entries": {"type": "array", "items": entry}, "truncated": flag()}),
            ),
        ),
        (
            "Diff",
            exact(
                "base head files patch truncated",
                &json!({"base": text(), "head": text_or_null(), "files": {"type": "array", "items": changed},
                    "patch": text(), "truncated": flag()}),
            ),
        ),
        ("Published", object("status head-branch force message", &published)),
        (
            "Snapshot",
            exact(
                "status message snapshot-id",
                &json!({"status": {"const": "snapshot-created"}, "message": text(), "snapshot-id": text()}),
            ),
        ),
    ]
}

fn requests() -> Named {
    let texts = |most: usize, bytes: usize| json!({"type": "array", "items": within(bytes), "maxItems": most});
    let project = object(
        "id title repo-url",
        &json!({"id": text(), "title": text(), "repo-url": text(), "base-branch": text(), "graph-id": text(),
            "egress": texts(egress::MAX_RULES, egress::MAX_RULE_BYTES), "docker-file": within(limits::MAX_SETUP_BYTES), "sandbox-init-setup": within(limits::MAX_SETUP_BYTES)}),
    );
    let login = object(
        "",
        &json!({"auth-id": text(), "auth-state": text(), "auth-method": text(), "user-id": text(), "workspace-id": text(),
            "issued-at": int(), "expires-at": int(), "revoked-at": int(),
            "runtime-auth-payload": object("", &json!({"auth-json": text()}))}),
    );
    let agent = object(
        "",
        &json!({"provider": text(), "mode": text(), "permission-mode": text(), "api-token": text(), "auth-json": text(),
            "managed-auth": login}),
    );
    let tools = object(
        "",
        &json!({"allow": texts(limits::MAX_PATTERNS, limits::MAX_PATTERN_BYTES),
            "deny": texts(limits::MAX_PATTERNS, limits::MAX_PATTERN_BYTES)}),
    );
    let create = object(
        "session-id node-id node-title content attachments project agent",
        &json!({"session-id": {"type": "string", "minLength": 1, "maxLength": limits::MAX_SESSION_ID_BYTES},
            "node-id": text(), "node-title": text(), "content": within(limits::MAX_MESSAGE_BYTES),
            "attachments": texts(limits::MAX_ATTACHMENTS, limits::MAX_ATTACHMENT_BYTES), "project": project,
            "agent": {"anyOf": [text(), agent]}, "runtime-provider": text(), "runner-id": text(),
            "sandbox-checkpoint": object("", &json!({"provider": text(), "snapshot-id": text()})),
            "capabilities": object("", &json!({"push-enabled": flag(), "pr-enabled": flag(), "follow-up": flag(), "tools": tools})),
            "budget": named("Budget")}),
    );
    let publish = object(
        "",
        &json!({"title": within(limits::MAX_TITLE_BYTES), "body": within(limits::MAX_TEXT_BYTES),
            "commit-message": within(limits::MAX_TEXT_BYTES), "head-branch": text(), "base-branch": text(),
            "create-pr": flag(), "force": flag()}),
    );
    let topics: Vec<&str> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
    let import = object(
        "access_token",
        &json!({"access_token": {"type": "string", "minLength": 1}, "refresh_token": text(), "id_token": text(),
            "token_type": text(), "scope": text(), "expires_in": int(), "expires_at": time(), "account_id": text()}),
    );
    vec![
        ("CreateSession", create),
        (
            "Message",
            object(
                "message",
                &json!({"message": within(limits::MAX_MESSAGE_BYTES), "kind": within(limits::MAX_TITLE_BYTES)}),
            ),
        ),
        ("Publish", publish),
        ("SetBudget", object("budget", &json!({"budget": named("Budget")}))),
        (
            "Decision",
            object(
                "decision",
                &json!({"decision": {"enum": ["granted", "denied"]}, "option-id": within(limits::MAX_TITLE_BYTES),
                    "reason": within(limits::MAX_TEXT_BYTES)}),
            ),
        ),
        ("ImportLogin", import),
        (
            "Move",
            object(
                "runtime-provider",
                &json!({"runtime-provider": {"enum": ["e2b", "local-runner", "local-dev"]}, "runner-id": text(), "force": flag()}),
            ),
        ),
        (
            "RegisterRunner",
            object(
                "runner-id",
                &json!({"runner-id": {"type": "string", "minLength": 1, "maxLength": limits::MAX_ID_BYTES},
                    "base-url": {"type": "string", "minLength": 1, "maxLength": limits::MAX_ADDRESS_BYTES},
                    "transport": {"enum": ["tunnel", "mailbox"]}, "instance-id": {"type": "string", "format": "uuid"},
                    "version": text(), "os": text(), "drivers": {"type": "array", "items": text()},
                    "agents": {"type": "array", "items": object("id", &json!({"id": text(), "version": text(), "ready": flag()}))},
                    "capabilities": {"type": "array", "items": text()}, "replace": flag(),
                    "agent-token": within(limits::MAX_TOKEN_BYTES), "access-client-id": within(limits::MAX_TOKEN_BYTES),
                    "access-client-secret": within(limits::MAX_TOKEN_BYTES), "signing-key": text(),
                    "workspace-dir": within(limits::MAX_ADDRESS_BYTES), "max-sessions": int(),
                    "transport": {"const": "tunnel"}}),
            ),
        ),
        ("Heartbeat", object("", &json!({"active-sessions": int()}))),
        (
            "AddWebhook",
            object(
                "url",
                &json!({"url": text(), "graph-id": within(limits::MAX_ID_BYTES),
                    "events": {"type": "array", "items": {"enum": topics}, "minItems": 1}}),
            ),
        ),
        ("RenewToken", object("", &json!({"attempt": {"type": ["integer", "null"], "minimum": 0}}))),
        (
            "TranscriptUpload",
            object(
                "terminalStatus snapshotJsonl runId",
                &json!({"terminalStatus": {"enum": ["completed", "failed", "timeout", "cancelled"]},
                    "snapshotJsonl": {"type": "string", "minLength": 1}, "runId": {"type": "integer", "minimum": 1}}),
            ),
        ),
    ]
}

/// What users register.
fn registered() -> Named {
    let topics: Vec<&str> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
    let login = json!({"auth-id": text(), "auth-state": {"enum": ["valid", "expired", "revoked"]},
        "auth-method": {"const": "chatgpt"}, "provider": {"const": "openai"}, "user-id": text(), "issued-at": time(),
        "expires-at": time(), "revoked-at": time()});
    let runner = json!({"runner-id": text(), "user-id": text(), "base-url": text_or_null(), "status": {"enum": ["online", "offline"]},
        "transport": {"const": "mailbox"}, "instance-id": text(), "runner-epoch": int(),
        "notices": {"type": "array", "items": object("code message at", &json!({"code": text(), "message": text(), "at": time(),
            "session-id": text_or_null()}))},
        "max-sessions": {"type": "integer", "minimum": 1}, "active-sessions": {"type": "integer", "minimum": 0},
        "last-heartbeat-at": time(), "created-at": time(), "updated-at": time()});
    let webhook = json!({"webhook-id": text(), "url": text(), "events": {"type": "array", "items": {"enum": topics}},
        "created-at": time(), "graph-id": text(), "disabled-at": time()});
    let delivery = json!({"id": text(), "type": {"enum": topics}, "session-id": text(), "attempts": int(),
        "state": {"enum": ["pending", "done", "dead"]}, "last-status": {"type": ["integer", "null"]},
        "next-at": {"type": ["integer", "null"]}});
    vec![
        ("Login", exact("auth-id auth-state auth-method provider user-id issued-at", &login)),
        (
            "Runner",
            exact(
                "runner-id user-id base-url status max-sessions active-sessions last-heartbeat-at created-at updated-at",
                &runner,
            ),
        ),
        ("Webhook", exact("webhook-id url events created-at", &webhook)),
        ("Delivery", exact("id type session-id attempts state last-status next-at", &delivery)),
    ]
}

/// The data of the events that the service alone writes. A runtime may say the others too, with whatever data it likes.
fn data_of(name: &str) -> Option<Value> {
    let push = json!({"by": text(), "head-branch": text(), "force": flag()});
    let pull = |more: Value| {
        let mut all = json!({"by": text(), "head-branch": text(), "base-branch": text()});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let amounts = json!({"scope": {"enum": ["session", "user-day"]}, "kind": text(), "limit": {"type": "number"},
        "used": {"type": "number"}, "currency": text(), "estimated": flag()});
    let decided = json!({"by": text(), "reason": text_or_null(), "request-id": text(), "call-id": text_or_null()});
    Some(match name {
        "session.created" => object(
            "requested-by project agent",
            &json!({"requested-by": text(), "project": {}, "agent": {}, "attachments": {"type": "array", "items": text()}}),
        ),
        "session.provisioned" => object(
            "provider runtime-session-id runner-id sandbox-id sandbox-name sprite-name",
            &json!({"provider": text_or_null(), "runtime-session-id": text_or_null(), "runner-id": text_or_null(),
                "sandbox-id": text_or_null(), "sandbox-name": text_or_null(), "sprite-name": text_or_null()}),
        ),
        "audit.log" => {
            object("event by", &json!({"event": text(), "by": text(), "kind": text_or_null(), "message": text()}))
        }
        "session.budget_warning" | "session.budget_reached" => object("scope kind limit used", &amounts),
        "session.budget_raised" => object("by budget", &json!({"by": text(), "budget": named("Budget")})),
        "session.archived" | "session.unarchived" | "sandbox.snapshot.started" => object("by", &json!({"by": text()})),
        "agent.runtime.error" => {
            object("session-id message", &json!({"session-id": text(), "message": text(), "reason": text()}))
        }
        "agent.approval_requested" => named("Approval"),
        "agent.approval_granted" | "agent.approval_denied" => object("by reason request-id call-id", &decided),
        "turn.completed" => object(
            "stop-reason turn runtime-session-id",
            &json!({"stop-reason": text(), "turn": side(), "runtime-session-id": text_or_null(), "stopped": text()}),
        ),
        "git.push.started" => object("by head-branch force", &push),
        "git.push.succeeded" => object("by head-branch force remote", &push),
        "git.push.failed" => {
            object("by head-branch reason error", &json!({"by": text(), "reason": text(), "error": text()}))
        }
        "git.pr.started" => object("by head-branch base-branch", &pull(json!({}))),
        "git.pr.succeeded" => object(
            "by head-branch base-branch pr-url pr-id",
            &pull(json!({"pr-url": text(), "pr-id": int(), "existing": {"const": true}})),
        ),
        "git.pr.failed" => object(
            "by head-branch base-branch reason error github-status",
            &pull(json!({"reason": text(), "error": text(), "github-status": side()})),
        ),
        "git.pr.closed" => object("by pr-id merged", &json!({"by": text(), "pr-id": int(), "merged": flag()})),
        "git.pr.follow_up_stopped" => {
            object("reason pr-id", &json!({"reason": {"enum": ["rounds", "budget", "queue"]}, "pr-id": int()}))
        }
        "git.pr.manual" => object(
            "by head-branch base-branch manual-pr-url reason",
            &pull(json!({"manual-pr-url": text(), "reason": text()})),
        ),
        "sandbox.snapshot.succeeded" => {
            object("by snapshot-id provider", &json!({"by": text(), "snapshot-id": text(), "provider": text()}))
        }
        "sandbox.snapshot.failed" => {
            object("by reason error", &json!({"by": text(), "reason": text_or_null(), "error": text()}))
        }
        "sandbox.checkpoint.started" => object("by reason", &json!({"by": text(), "reason": text()})),
        "sandbox.checkpoint.succeeded" => object(
            "reused by reason snapshot-id provider",
            &json!({"reused": {"const": true}, "by": text(), "reason": text(), "snapshot-id": text(), "provider": text()}),
        ),
        "sandbox.checkpoint.failed" => {
            object("error by reason", &json!({"error": text(), "by": text(), "reason": text()}))
        }
        "sandbox.expired" => object("sandbox-id", &json!({"sandbox-id": text()})),
        "session.terminal.opened" => object("by", &json!({"by": text(), "cols": int(), "rows": int()})),
        "session.runner.offline" => exact(
            "runner-id reason last-seen-at queued",
            &json!({"runner-id": text(), "reason": {"enum": ["timeout", "stopped", "revoked", "superseded"]},
                "last-seen-at": time(), "queued": int()}),
        ),
        "session.runner.online" => {
            exact("runner-id offline-ms queued", &json!({"runner-id": text(), "offline-ms": int(), "queued": int()}))
        }
        "session.runner.moved" => exact(
            "from to",
            &json!({
            "from": {"anyOf": [{"type": "null"}, object("runtime-provider", &json!({"runtime-provider": text(), "runner-id": text()}))]},
            "to": object("runtime-provider", &json!({"runtime-provider": text(), "runner-id": text()}))}),
        ),
        "runner.notice" => exact("code message", &json!({"code": text(), "message": text()})),
        "agent.file" => exact("name sha256 size", &json!({"name": text(), "sha256": text(), "size": int()})),
        "session.terminal.failed" => {
            object("by error", &json!({"by": text(), "error": text(), "cols": int(), "rows": int()}))
        }
        "session.terminal.closed" => {
            object("by reason", &json!({"by": text(), "reason": text(), "exit-code": int(), "error": text()}))
        }
        "pg_sync.change" => object(
            "source_id subscription_id incarnation table after_seq to_seq counts changes more available_from",
            &json!({"source_id": text(), "subscription_id": text(), "incarnation": int(), "table": text(),
                "after_seq": int(), "to_seq": int(), "counts": counts(),
                "changes": {"type": "array", "items": named("Change")}, "more": flag(), "available_from": int(),
                "throttled": {"const": true}}),
        ),
        "pg_sync.gap" => object(
            "source_id from_seq reason at count",
            &json!({"source_id": text(), "incarnation": side(), "from_seq": int(), "reason": gap_reasons(),
                "at": time(), "count": int(), "diff": text()}),
        ),
        "pg_sync.blocked" | "pg_sync.recovered" => object(
            "source_id reason since",
            &json!({"source_id": text(), "reason": text(), "status": int(), "detail": text(), "since": time()}),
        ),
        "pg_sync.throttled" => {
            object("source_id limit until", &json!({"source_id": text(), "limit": int(), "until": time()}))
        }
        "pg_sync.ended" => object(
            "source_id reason",
            &json!({"source_id": text(), "reason": {"enum": ["unobserved", "one_shot", "expired", "source_removed"]}}),
        ),
        _ => return None,
    })
}

fn counts() -> Value {
    exact("insert update delete", &json!({"insert": int(), "update": int(), "delete": int()}))
}

fn gap_reasons() -> Value {
    json!({"enum": ["must_refetch", "connection_changed", "source_lost", "diff_failed"]})
}

/// What is observed of databases (pg-sync.md 4.2, 4.11, 4.13).
fn observed() -> Named {
    let texts = json!({"type": "array", "items": text()});
    let replica = json!({"enum": ["default", "full"]});
    let wake = object(
        "",
        &json!({"ops": {"type": "array", "minItems": 1, "items": {"enum": ["insert", "update", "delete"]}},
            "filter": {"type": "object", "additionalProperties": text_or_null()},
            "debounce_ms": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
            "max_wait_ms": {"type": "integer", "minimum": 0, "maximum": 86_400_000}, "one_shot": flag(),
            "expires_in_s": {"type": "integer", "minimum": 1}}),
    );
    let observe = json!({"connection": text(), "url": text(), "table": text(), "columns": texts, "where": text(),
        "params": {"type": ["array", "object"]}, "replica": replica, "on_gap": {"enum": ["event", "diff"]},
        "wake": named("Wake"), "replace": flag()});
    let observation = json!({"source_id": text(), "subscription_id": text(), "connection": text_or_null(),
        "table": text_or_null(), "wake": {}, "state": text(), "reason": text_or_null(), "last_seq": int(), "sent_seq": int(),
        "pending": int(), "cursor_age_ms": side(), "last_ok_at": side(), "last_error": text_or_null(), "next_at": side(),
        "observers": int(), "dropped": int(), "gaps": int(), "created_at": side()});
    let change = json!({"seq": int(), "operation": {"enum": ["insert", "update", "delete"]}, "key": text(), "value": {},
        "old_value": {}, "partial": {"const": true}, "synthetic": {"const": true}, "truncated": {"const": true},
        "tx": text_or_null(), "op": side(), "at": time()});
    let gap = exact("seq reason at", &json!({"seq": int(), "reason": gap_reasons(), "at": time()}));
    let put = json!({"url": text(), "secret": text_or_null(), "tables": texts, "replica": replica,
        "mode": {"enum": ["live", "interval"]}, "poll_ms": {"type": "integer", "minimum": 100, "maximum": 3_600_000}});
    let connection = json!({"name": text(), "url": text(), "has_secret": flag(), "tables": texts, "replica": replica,
        "mode": {"enum": ["live", "interval"]}, "poll_ms": side(), "revision": int(), "sources": int(),
        "created_at": side(), "updated_at": side(), "from": {"enum": ["user", "config"]}});
    vec![
        ("Wake", wake),
        ("Observe", exact("table", &observe)),
        (
            "Observed",
            exact(
                "source_id subscription_id wake sourceRef streamUrl state",
                &json!({"source_id": text(), "subscription_id": text(), "wake": named("Wake"), "sourceRef": text(),
                    "streamUrl": text(), "state": text()}),
            ),
        ),
        ("Observation", exact("source_id subscription_id state", &observation)),
        ("Change", exact("seq operation key value tx op at", &change)),
        (
            "Changes",
            exact(
                "source_id incarnation changes next_after first_seq last_seq gaps",
                &json!({"source_id": text(), "incarnation": int(), "changes": {"type": "array", "items": named("Change")},
                    "next_after": int(), "first_seq": int(), "last_seq": int(), "gaps": {"type": "array", "items": gap}}),
            ),
        ),
        ("PutConnection", exact("url", &put)),
        ("TestConnection", exact("table", &json!({"table": text()}))),
        (
            "Connection",
            exact(
                "name url has_secret tables replica mode poll_ms revision sources created_at updated_at from",
                &connection,
            ),
        ),
    ]
}

fn events() -> Named {
    let base = json!({"event-id": text(), "session-id": text(), "type": text(), "ts": time(), "data": {},
        "cursor": {"type": "integer", "minimum": 1}, "truncated": {"const": true}, "size": int()});
    // What was cut has other data: a preview.
    let told = Kind::NAMES.iter().filter(|(_, by_runtime)| !by_runtime).map(|(name, _)| {
        let data = data_of(name).unwrap_or_else(|| panic!("{name} is not described"));
        json!({"if": {"properties": {"type": {"const": name}, "truncated": false}},
            "then": {"properties": {"data": data}}})
    });
    let event = json!({
        "type": "object",
        "properties": base,
        "required": ["event-id", "session-id", "type", "ts", "data"],
        "additionalProperties": false,
        "allOf": told.collect::<Vec<_>>(),
    });
    vec![("Event", event)]
}
