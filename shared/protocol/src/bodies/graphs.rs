//! Graphs: list, create, delete (sync.md 4.1, 4.2, 4.4).

use super::Body;
use super::members::Role;
use crate::errors::{BodyError, INVALID_BODY};
use crate::json::{self, Fields, Json, Mismatch};
use crate::limits::{GRAPH_NAME_CHARS, SCHEMA_VERSION_CHARS};
use serde::Serialize;
use serde::de::MapAccess;
use std::borrow::Cow;

/// Answer of `GET /graphs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphList {
    /// Most recently updated first.
    pub graphs: Vec<Graph>,
    /// Whether the caller has stored a complete RSA pair.
    #[serde(rename = "user-rsa-keys-exists?")]
    pub user_rsa_keys_exist: bool,
}

impl Body for GraphList {}

/// One graph as its list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Graph {
    /// UUID.
    pub graph_id: String,
    /// As given at creation.
    pub graph_name: String,
    /// Version of the client's schema.
    pub schema_version: Option<String>,
    /// Whether titles and names are encrypted.
    #[serde(rename = "graph-e2ee?")]
    pub graph_e2ee: bool,
    /// Whether a complete snapshot is stored.
    #[serde(rename = "graph-ready-for-use?")]
    pub graph_ready_for_use: bool,
    /// The caller's role; none for an owner who is no member.
    pub role: Option<Role>,
    /// Who added the caller.
    pub invited_by: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
}

/// Body of `POST /graphs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateGraph<'a> {
    /// The graph's name, unique for its owner.
    pub graph_name: Cow<'a, str>,
    /// Version of the client's schema.
    pub schema_version: Option<Cow<'a, str>>,
    /// Whether titles and names are encrypted; true when not said.
    pub graph_e2ee: bool,
    /// False while a snapshot is still to come; true when not said.
    pub graph_ready_for_use: bool,
}

impl<'a> CreateGraph<'a> {
    /// Reads the body.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: CreateFields<'a> = json::body(body, INVALID_BODY)?;
        fields.check().map_err(|Mismatch| BodyError::Schema(INVALID_BODY))
    }
}

#[derive(Debug, Default)]
struct CreateFields<'a> {
    name: Json<'a>,
    schema_version: Json<'a>,
    e2ee: Json<'a>,
    ready: Json<'a>,
}

impl<'a> Fields<'a> for CreateFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "graph-name" => self.name = map.next_value()?,
            "schema-version" => self.schema_version = map.next_value()?,
            "graph-e2ee?" => self.e2ee = map.next_value()?,
            "graph-ready-for-use?" => self.ready = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> CreateFields<'a> {
    fn check(self) -> Result<CreateGraph<'a>, Mismatch> {
        Ok(CreateGraph {
            graph_name: self.name.short_text(GRAPH_NAME_CHARS)?,
            schema_version: match self.schema_version.nullable_text()? {
                Some(version) => Some(json::short(version, SCHEMA_VERSION_CHARS)?),
                None => None,
            },
            graph_e2ee: self.e2ee.optional_bool()?.unwrap_or(true),
            graph_ready_for_use: self.ready.optional_bool()?.unwrap_or(true),
        })
    }
}

/// Answer of `POST /graphs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GraphCreated {
    /// The new graph's UUID.
    pub graph_id: String,
    /// As asked or defaulted.
    #[serde(rename = "graph-e2ee?")]
    pub graph_e2ee: bool,
    /// As asked or defaulted.
    #[serde(rename = "graph-ready-for-use?")]
    pub graph_ready_for_use: bool,
}

impl Body for GraphCreated {}

/// Answer of the two delete routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GraphDeleted {
    /// The deleted graph.
    pub graph_id: String,
    /// Always true.
    pub deleted: bool,
}

impl GraphDeleted {
    /// The answer for a graph.
    pub fn new(graph_id: impl Into<String>) -> Self {
        Self { graph_id: graph_id.into(), deleted: true }
    }
}

impl Body for GraphDeleted {}
