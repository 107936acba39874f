//! The index over D1.

use index::{Cell, Database, DbError, Param, Row, Session, Statement};
use worker::js_sys::Array;
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::{D1Database, D1PreparedStatement, D1Result};

/// The binding `DB`.
pub struct D1Index(D1Database);

impl D1Index {
    /// The index in a database whose migrations have been applied.
    pub fn new(database: D1Database) -> Self {
        Self(database)
    }

    /// The statement in a session; where the binding knows no sessions, without one.
    fn prepare(&self, session: Session, sql: &str) -> D1PreparedStatement {
        let constraint = match session {
            Session::None => return self.0.prepare(sql),
            Session::Default => None,
            Session::FirstPrimary => Some("first-primary"),
        };
        match self.0.with_session(constraint) {
            Ok(session) => session.prepare(sql),
            Err(_) => self.0.prepare(sql),
        }
    }
}

impl Database for D1Index {
    async fn query(&self, session: Session, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let rows = bind(self.prepare(session, sql), params)?.raw_js_value().await.map_err(error)?;
        Ok(rows.into_iter().map(row).collect())
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        changed(&bind(self.0.prepare(sql), params)?.run().await.map_err(error)?)
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let bound = statements.iter().map(|(sql, params)| bind(self.0.prepare(*sql), params));
        let results = self.0.batch(bound.collect::<Result<_, _>>()?).await.map_err(error)?;
        results.iter().map(changed).collect()
    }
}

/// The number of rows that a statement has changed.
fn changed(result: &D1Result) -> Result<u64, DbError> {
    if !result.success() {
        return Err(DbError(result.error().unwrap_or_default()));
    }
    let meta = result.meta().map_err(error)?.ok_or_else(|| DbError("no row count".into()))?;
    let changes = meta.changes.or(meta.rows_written).ok_or_else(|| DbError("no row count".into()))?;
    Ok(changes as u64)
}

fn bind(statement: D1PreparedStatement, params: &[Param<'_>]) -> Result<D1PreparedStatement, DbError> {
    if params.is_empty() {
        return Ok(statement);
    }
    let values: Vec<JsValue> = params
        .iter()
        .map(|param| match *param {
            Param::Null => JsValue::NULL,
            Param::Real(number) => JsValue::from_f64(number),
            Param::Text(text) => JsValue::from_str(text),
        })
        .collect();
    statement.bind(&values).map_err(error)
}

fn row(values: JsValue) -> Row {
    let values: Array = values.unchecked_into();
    let cell = |value: JsValue| match (value.as_f64(), value.as_string()) {
        (Some(number), _) => Cell::Real(number),
        (None, Some(text)) => Cell::Text(text),
        (None, None) => Cell::Null,
    };
    Row(values.iter().map(cell).collect())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function for map_err")]
fn error(error: worker::Error) -> DbError {
    DbError(error.to_string())
}
