//! What clients of 7.2 say and hear (transcripts.md 2.2, 2.5): the body of an upload, and the payload of a job.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::refused::Refused;
use crate::rules::Status;

/// The path of the routes.
pub const PATH: &str = "/worker/transcript/snapshot";
/// The content type of a snapshot.
pub const CONTENT_TYPE: &str = "application/x-ndjson; charset=utf-8";

/// An upload. It was checked in the order in which the reference checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// How the run has ended.
    pub status: Status,
    /// The transcript.
    pub snapshot: String,
    /// The run.
    pub run_id: u64,
}

impl Upload {
    /// Reads a body whose snapshot has at most `limit` bytes.
    pub fn parse(body: &[u8], limit: usize) -> Result<Self, Refused> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refused::Invalid("invalid JSON body"))?;
        let member = |name: &str| body.get(name);
        let status = member("terminalStatus").and_then(Value::as_str).and_then(Status::parse);
        let status = status.ok_or(Refused::Invalid("invalid terminalStatus"))?;
        let snapshot = member("snapshotJsonl").and_then(Value::as_str).filter(|text| !text.is_empty());
        let snapshot = snapshot.ok_or(Refused::Invalid("snapshotJsonl is required"))?;
        // Bytes count, not characters.
        if snapshot.len() > limit {
            return Err(Refused::TooLarge);
        }
        let run_id = member("runId").and_then(positive).ok_or(Refused::Invalid("runId must be a positive number"))?;
        Ok(Self { status, snapshot: snapshot.to_owned(), run_id })
    }

    /// The body of a request.
    pub fn to_json(&self) -> Value {
        json!({"terminalStatus": self.status.as_str(), "snapshotJsonl": self.snapshot, "runId": self.run_id})
    }
}

/// A whole number from 1 on, however it is written: JavaScript tells 42 and 42.0 not apart.
fn positive(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, positive and below 2^53")]
    let whole = |number: f64| (number.fract() == 0.0 && (1.0..9e15).contains(&number)).then_some(number as u64);
    value.as_u64().filter(|number| *number > 0).or_else(|| whole(value.as_f64()?))
}

/// A job as it is sent to whoever runs the agent. Members that nobody here knows are kept: a schema that dropped them once broke
/// every chat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The run.
    #[serde(rename = "runId", default, deserialize_with = "run_id", skip_serializing_if = "Option::is_none")]
    pub run_id: Option<u64>,
    /// The token of the run.
    #[serde(rename = "runJobToken", default, deserialize_with = "token", skip_serializing_if = "Option::is_none")]
    pub run_job_token: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A job whose transcript nobody could keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job has no {0}: its transcript could not be kept")]
pub struct Unkept(&'static str);

impl Job {
    /// The run and its token. Without both the run fails before the agent is asked anything.
    pub fn required(&self) -> Result<(u64, &str), Unkept> {
        let run = self.run_id.ok_or(Unkept("runId"))?;
        Ok((run, self.run_job_token.as_deref().ok_or(Unkept("runJobToken"))?))
    }
}

fn run_id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(positive(&Value::deserialize(deserializer)?))
}

fn token<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts 10 and 11 of transcripts.md 3.
    #[test]
    fn jobs_keep_what_nobody_knows() {
        let job: Job = serde_json::from_value(json!({
            "runId": 42, "runJobToken": "t", "messageText": "hi", "later": {"nested": [1, null]}, "processedIds": ["a"],
        }))
        .unwrap();
        assert_eq!(job.required(), Ok((42, "t")));
        assert_eq!(job.rest["later"], json!({"nested": [1, null]}));
        let again = serde_json::to_value(&job).unwrap();
        assert_eq!(
            (&again["runId"], &again["later"], &again["processedIds"]),
            (&json!(42), &json!({"nested": [1, null]}), &json!(["a"]))
        );
        for (run, token) in [
            ("\"42\"", "\"t\""),
            ("null", "\"t\""),
            ("-1", "\"t\""),
            ("1.5", "\"t\""),
            ("1", "\"\""),
            ("1", "7"),
            ("1", "null"),
        ] {
            // NaN and Infinity are no JSON: whoever writes them writes null.
            let job: Job = serde_json::from_str(&format!("{{\"runId\":{run},\"runJobToken\":{token}}}")).unwrap();
            assert!(job.required().is_err(), "{run} {token}");
        }
        assert!(Job::default().required().is_err());
    }

    fn parse(body: &Value) -> Result<Upload, Refused> {
        Upload::parse(body.to_string().as_bytes(), 8)
    }

    /// Facts 19, 20 and 35 of transcripts.md 3, and the order of the checks.
    #[test]
    fn uploads_are_checked_in_order() {
        let good = json!({"terminalStatus": "completed", "snapshotJsonl": "12345678", "runId": 7});
        assert_eq!(parse(&good).unwrap().run_id, 7);
        assert_eq!(parse(&parse(&good).unwrap().to_json()), parse(&good));
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            parse(&body)
        };
        for status in [json!("done"), json!(null), json!(1), json!("COMPLETED")] {
            assert_eq!(with("terminalStatus", status), Err(Refused::Invalid("invalid terminalStatus")));
        }
        for snapshot in [json!(""), json!(null), json!(7), json!(["x"])] {
            assert_eq!(with("snapshotJsonl", snapshot), Err(Refused::Invalid("snapshotJsonl is required")));
        }
        for run in [json!("7"), json!(0), json!(-1), json!(1.5), json!(null), json!(1e300)] {
            assert_eq!(with("runId", run), Err(Refused::Invalid("runId must be a positive number")));
        }
        assert_eq!(with("runId", json!(7.0)).unwrap().run_id, 7);
        assert_eq!(with("snapshotJsonl", json!("éééé")).unwrap().snapshot.len(), 8);
        assert_eq!(with("snapshotJsonl", json!("ééééx")), Err(Refused::TooLarge));
        for broken in ["", "{", "[]", "7", "{\"runId\":1e999}"] {
            assert!(matches!(Upload::parse(broken.as_bytes(), 8), Err(Refused::Invalid(_))), "{broken}");
        }
        // Too large is told before the run is looked at.
        let body = json!({"terminalStatus": "failed", "snapshotJsonl": "123456789", "runId": 0});
        assert_eq!(parse(&body), Err(Refused::TooLarge));
    }
}
