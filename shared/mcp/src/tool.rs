//! What a tool is.

use serde_json::{Value as Json, json};

/// A tool as clients are told of it. What it does belongs to whoever calls it.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it does, for whoever chooses.
    pub description: &'static str,
    /// The JSON schema of its arguments, an object.
    pub input: Json,
    /// The JSON schema of its result, an object.
    pub output: Json,
}

impl Tool {
    pub(crate) fn to_json(&self) -> Json {
        json!({"name": self.name, "description": self.description, "inputSchema": self.input, "outputSchema": self.output})
    }
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The result, an object.
    Done(Json),
    /// It did not work, and this says why: an object with `error`. The caller is an agent, which reads it.
    Failed(Json),
    /// An argument is missing, wrong or unknown: its name.
    Arguments(String),
}
