//! The independent reader: a Node process that decodes rows with transit-js (`tests/reader/odd-rows.mjs`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use datascript::Row;
use serde_json::{Value as Json, json};

use super::digest::digest;
use super::facts::Facts;
use super::failure::{Failure, Kind, OrFail, Outcome, check};
use crate::{Result, fail};

/// A running reader; it ends with this value.
pub(crate) struct Reader {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts the process.
    pub(crate) fn start() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = Command::new("node");
        command.current_dir(root).arg("tests/reader/odd-rows.mjs").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| format!("cannot start node: {error}"))?;
        let input = process.stdin.take().ok_or("node without input")?;
        let output = process.stdout.take().ok_or("node without output")?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    /// Checks that the reader finds the facts of the graph in its rows. `is_flushed`: the trees hold all of them, the
    /// tail none.
    pub(crate) fn check(&mut self, rows: &[Row], facts: &Facts, is_flushed: bool) -> Outcome {
        let rows: Vec<Json> = rows.iter().map(|row| json!([row.addr, row.content, row.addresses])).collect();
        let answer = self.ask(&json!({ "rows": rows })).or_fail(Kind::Reader)?;
        if let Some(error) = answer.get("error").and_then(Json::as_str) {
            return Err(Failure::new(Kind::Reader, error));
        }
        let all = digest(&facts.eavt);
        for (index, ours) in
            [("eavt", Some(all.clone())), ("aevt", Some(all)), ("avet", is_flushed.then(|| digest(&facts.avet)))]
        {
            let theirs = answer.get(index).and_then(Json::as_str);
            check!(ours.is_none() || ours.as_deref() == theirs, Kind::Reader, "the facts of {index} are others");
        }
        Ok(())
    }

    /// Checks that npm datascript, given the facts before, arrives at the facts after by applying the log.
    pub(crate) fn replays(&mut self, question: &Json) -> Outcome {
        let answer = self.ask(question).or_fail(Kind::Log)?;
        match answer.get("error").and_then(Json::as_str) {
            Some(error) => Err(Failure::new(Kind::Log, format!("npm datascript: {error}"))),
            None => Ok(()),
        }
    }

    fn ask(&mut self, question: &Json) -> Result<Json> {
        let question = format!("{question}\n");
        self.input.write_all(question.as_bytes()).and_then(|()| self.input.flush()).map_err(fail)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(fail)?;
        if line.is_empty() {
            return Err("the reader ended".to_owned());
        }
        serde_json::from_str(&line).map_err(fail)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
