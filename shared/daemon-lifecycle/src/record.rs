//! What a daemon says about itself in `daemon.json` (docs/spec/daemon.md 4.2). It informs; exclusivity is the lock's.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Owner;

/// The form of the metadata that is written and managed.
pub const VERSION: u64 = 1;

/// How many bytes of a metadata file are read, at most.
pub const LIMIT: usize = 64 * 1024;

/// How far a daemon has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds the lock and opens its data.
    Starting,
    /// It answers.
    Ready,
    /// It was asked to end, and finishes what it has begun.
    Stopping,
}

/// What kind of daemon it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The sync server.
    #[default]
    SelfHost,
    /// A runner of agent sessions.
    Runner,
}

/// The metadata of a daemon. Members that are not known are kept when it is written again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Form of the file.
    #[serde(default = "first")]
    pub v: u64,
    /// Kind of daemon.
    #[serde(default)]
    pub kind: Kind,
    /// The canonical path of the data directory.
    #[serde(default)]
    pub data_dir: String,
    /// The graph it serves, or the whole directory.
    #[serde(default)]
    pub graph: Option<String>,
    /// Its process, in its own pid namespace.
    pub pid: u32,
    /// When the process started, in clock ticks since the machine did.
    #[serde(default)]
    pub pid_start: Option<u64>,
    /// Which start of which machine `pid_start` counts from.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The pid namespace, by inode.
    #[serde(default)]
    pub pid_ns: Option<u64>,
    /// Name of the machine.
    #[serde(default)]
    pub host: String,
    /// The unit of the service manager that runs it.
    #[serde(default)]
    pub unit: Option<String>,
    /// Random id of this hold of the lock.
    #[serde(default)]
    pub lock_id: String,
    /// Who started it.
    #[serde(default)]
    pub owner: Owner,
    /// How far it has come.
    #[serde(default = "ready")]
    pub status: Status,
    /// The exact build.
    #[serde(default)]
    pub revision: String,
    /// RFC 3339.
    #[serde(default)]
    pub started_at: String,
    /// Where it answers its own routes: `unix:<path>` or `http://127.0.0.1:<port>`.
    #[serde(default)]
    pub endpoint: String,
    /// The public addresses it serves.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Name of the file beside this one that holds the token for `endpoint`.
    #[serde(default)]
    pub token_file: String,
    /// Path of the executable.
    #[serde(default)]
    pub exe: String,
    /// How long it may take to end once it was asked to.
    #[serde(default = "default_stop")]
    pub stop_timeout_ms: u64,
    /// What other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn first() -> u64 {
    VERSION
}

fn ready() -> Status {
    Status::Ready
}

fn default_stop() -> u64 {
    20_000
}

impl Record {
    /// Whether it is of an older form, which does not say which process exactly is meant.
    pub fn is_legacy(&self) -> bool {
        self.pid_start.is_none() || self.boot_id.is_none() || self.pid_ns.is_none()
    }

    /// Host and port of the first public address. `None` for what is no `http` address, such as a socket's path.
    pub fn public_address(&self) -> Option<(String, u16)> {
        let uri: http::Uri = self.listen.first()?.parse().ok()?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some((host, uri.port_u16()?))
    }
}

/// What was found where metadata is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No file.
    Absent,
    /// Something that is no metadata, and why.
    Unreadable(String),
    /// Metadata of a newer form: it is shown, and its process is left alone.
    TooNew {
        /// Its form.
        v: u64,
        /// Its members.
        members: Map<String, Value>,
    },
    /// Metadata.
    Valid(Box<Record>),
}

impl Reading {
    /// The metadata, if it is one that can be used.
    pub fn record(&self) -> Option<&Record> {
        if let Self::Valid(record) = self { Some(record) } else { None }
    }
}

/// Reads metadata. `bytes` are at most [`LIMIT`] and one more, which shows that there were too many.
pub fn read(bytes: &[u8]) -> Reading {
    if bytes.len() > LIMIT {
        return Reading::Unreadable(format!("more than {LIMIT} bytes"));
    }
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Reading::Unreadable(error.to_string()),
    };
    if let (Some(v), Value::Object(members)) = (value.get("v").and_then(Value::as_u64), &value)
        && v > VERSION
    {
        return Reading::TooNew { v, members: members.clone() };
    }
    match serde_json::from_value::<Record>(value) {
        // Pid 0 means "this process group" to the system, and above that it would be negative.
        Ok(record) if record.pid == 0 || i32::try_from(record.pid).is_err() => {
            Reading::Unreadable("pid out of range".to_owned())
        }
        Ok(record) => Reading::Valid(Box::new(record)),
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Facts 3 and 5: the owner is kept, and its absence is `unknown`.
    #[test]
    fn a_record_of_an_older_form_has_an_unknown_owner() {
        let reading = read(br#"{"repo":"x","pid":7}"#);
        let record = reading.record().unwrap();
        assert_eq!(record.owner, Owner::Unknown);
        assert!(record.is_legacy());
        let reading = read(br#"{"pid":7,"owner":"electron","pid_start":1,"boot_id":"b","pid_ns":2}"#);
        let record = reading.record().unwrap();
        assert_eq!(record.owner, Owner::Desktop);
        assert!(!record.is_legacy());
    }

    #[test]
    fn members_of_other_versions_are_kept() {
        let reading = read(br#"{"pid":7,"flavour":{"a":[1]}}"#);
        let again = serde_json::to_value(reading.record().unwrap()).unwrap();
        assert_eq!(again["flavour"], serde_json::json!({"a": [1]}));
    }

    #[test]
    fn a_newer_form_is_shown_and_not_used() {
        let reading = read(br#"{"v":2,"pid":"seven"}"#);
        assert!(matches!(&reading, Reading::TooNew { v: 2, members } if members["pid"] == "seven"));
        assert_eq!(reading.record(), None);
    }

    #[test]
    fn what_is_no_record_is_told() {
        let long = [b"{\"pid\":1,\"x\":\"".as_slice(), &vec![b'x'; LIMIT], b"\"}"].concat();
        for bytes in [b"".as_slice(), b"{", b"[]", b"{}", b"{\"pid\":0}", b"{\"pid\":-1}", b"\0\xff", &long] {
            assert!(matches!(read(bytes), Reading::Unreadable(_)));
        }
    }

    #[test]
    fn the_public_address_is_the_first_one() {
        let mut record = read(br#"{"pid":7}"#).record().unwrap().clone();
        assert_eq!(record.public_address(), None);
        record.listen = vec!["http://[::]:8080".into(), "http://127.0.0.1:9".into()];
        assert_eq!(record.public_address(), Some(("::".into(), 8080)));
        record.listen = vec!["unix:/run/x".into()];
        assert_eq!(record.public_address(), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
