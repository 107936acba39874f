//! Refusals as they are described: every one has the status and the text that the service gives it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sessions::error::Error;
use sessions::pg_sync::PgSyncError;
use sessions::publish::ForceRefused;
use sessions::repository::BranchName;
use sessions::session::budget;
use transcripts::Refused;
use web::Refusal as _;

/// A group of refusals that many operations share.
pub(crate) fn group(name: &str) -> Vec<Error> {
    match name {
        // Whoever asks without a token that is known.
        "signed" => vec![Error::Unauthorized, Error::Internal(String::new())],
        "body" => vec![Error::MissingBody, Error::InvalidBody, Error::RequestTooLarge],
        // A session that the caller may see.
        "session" => vec![Error::NotFound, Error::Forbidden],
        "rate" => vec![Error::RateLimited(1)],
        "keyed" => vec![Error::RequestInProgress, Error::KeyReused],
        "publish" => vec![
            Error::NotWritable,
            Error::RuntimeUnavailable,
            Error::MissingRepository,
            Error::InvalidHead,
            Error::Failed(String::new()),
            Error::Force(ForceRefused::NotAllowed(branch())),
            Error::Force(ForceRefused::NotOurs(branch())),
        ],
        "tree" => vec![
            Error::RuntimePaused,
            Error::RuntimeUnavailable,
            Error::RequestInProgress,
            Error::RateLimited(1),
            Error::Failed(String::new()),
        ],
        "run" => [
            Refused::Unauthorized,
            Refused::Scope,
            Refused::RunMismatch,
            Refused::RunNotInSession,
            Refused::NotFound,
            Refused::EpochGone,
            Refused::BodyMissing,
            Refused::NoKeys,
            Refused::NoStore,
        ]
        .into_iter()
        .map(|refused| Error::transcript(refused, false))
        .collect(),
        "upload" => [
            Refused::Invalid(""),
            Refused::CompletedExists,
            Refused::StaleAttempt,
            Refused::Divergent,
            Refused::TooLarge,
            Refused::DigestMismatch,
            Refused::Busy,
        ]
        .into_iter()
        .map(|refused| Error::transcript(refused, false))
        .collect(),
        "pg-sync" => [PgSyncError::Disabled, PgSyncError::BridgeUnavailable].map(Error::from).to_vec(),
        // What a connection or a shape service refuses.
        "observed" => [
            PgSyncError::InvalidOptions(vec![]),
            PgSyncError::FilterNeedsFullReplica,
            PgSyncError::UrlNotAllowed,
            PgSyncError::TableNotAllowed,
            PgSyncError::ConnectionNotFound,
            PgSyncError::WakeConflict(json!({})),
            PgSyncError::ProbeFailed { status: 0, detail: String::new() },
            PgSyncError::Quota { limit: 0, scope: "user" },
        ]
        .map(Error::from)
        .to_vec(),
        other => panic!("no group {other}"),
    }
}

fn branch() -> BranchName {
    BranchName::wish(Some("branch")).unwrap()
}

/// The texts that an error may have: one, or those of a pattern.
fn text(error: &Error) -> Value {
    match error {
        Error::Transition(_) => json!({"pattern": "^cannot transition from [a-z]+ to [a-z]+$"}),
        Error::BudgetReached(_) => {
            let kinds = budget::Kind::ALL.map(|kind| format!("budget reached: {}", kind.as_str()));
            json!({"enum": kinds})
        }
        Error::NotInstalled { .. } => {
            json!({"pattern": "^GitHub App is not installed for this repository. Install it and retry(: .+|\\.)$"})
        }
        Error::Force(ForceRefused::NotAllowed(_)) => json!({"pattern": "^force push to .+ is not allowed$"}),
        Error::Force(ForceRefused::NotOurs(_)) => json!({"pattern": "^force push refused: .+"}),
        // Words of a provider, and of what failed.
        Error::Unsupported(_) | Error::Failed(_) | Error::Transcript { refused: Refused::Invalid(_), .. } => {
            json!({"minLength": 1})
        }
        fixed => json!({"const": fixed.answer().1}),
    }
}

/// The responses of refusals, by status.
pub(crate) fn responses(errors: &[Error]) -> BTreeMap<String, Value> {
    let mut by_status: BTreeMap<String, (Vec<Value>, bool)> = BTreeMap::new();
    for error in errors {
        let (status, _) = error.answer();
        let (texts, has_code) = by_status.entry(status.as_str().to_owned()).or_default();
        *has_code |= error.code().is_some();
        let text = text(error);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    by_status.into_iter().map(|(status, (texts, has_code))| (status, response(&texts, has_code))).collect()
}

fn response(texts: &[Value], has_code: bool) -> Value {
    let consts: Vec<&Value> = texts.iter().filter_map(|text| text.get("const")).collect();
    let others: Vec<&Value> = texts.iter().filter(|text| text.get("const").is_none()).collect();
    let mut options: Vec<Value> = others.into_iter().cloned().collect();
    if !consts.is_empty() {
        options.insert(0, json!({"enum": consts}));
    }
    let error = if options.len() == 1 { options.remove(0) } else { json!({"anyOf": options}) };
    let mut properties = json!({"error": error});
    if has_code {
        properties["code"] = json!({"type": "string"});
    }
    json!({
        "description": "Refused",
        "content": {"application/json": {"schema": {
            "$ref": "#/components/schemas/Refusal",
            "properties": properties,
        }}},
    })
}
