//! A database of D1.

use database::{Cell, Database, DbError, Param, ReadFrom, Row, Statement, exact_double};
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::D1Database;

use crate::bindings::d1::{self, Outcome, Prepared};
use crate::failure;

/// A database behind a binding.
pub struct D1(d1::Database);

impl D1 {
    /// The database.
    pub fn new(database: &D1Database) -> Self {
        Self(AsRef::<JsValue>::as_ref(database).clone().unchecked_into())
    }

    /// A reading statement for one of the copies. D1 takes the choice of a copy as the constraint of a session; where
    /// the binding knows no sessions, there is one copy.
    fn prepare_read(&self, from: ReadFrom, sql: &str) -> Result<Prepared, DbError> {
        let constraint = match from {
            ReadFrom::Nearest => None,
            ReadFrom::Primary => Some("first-primary"),
        };
        match self.0.with_session(constraint) {
            Ok(session) => session.prepare(sql).map_err(error),
            Err(_) => self.0.prepare(sql).map_err(error),
        }
    }
}

impl Database for D1 {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let rows = bind(self.prepare_read(from, sql)?, params)?.raw().map_err(error)?;
        let rows: Array = JsFuture::from(rows).await.and_then(JsCast::dyn_into).map_err(error)?;
        rows.iter().map(row).collect()
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let outcome = bind(self.0.prepare(sql).map_err(error)?, params)?.run().map_err(error)?;
        changed(&JsFuture::from(outcome).await.map_err(error)?.unchecked_into())
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let bound = Array::new();
        for (sql, params) in statements {
            let statement = bind(self.0.prepare(sql).map_err(error)?, params)?;
            bound.push(statement.as_ref());
        }
        let outcomes = JsFuture::from(self.0.batch(&bound).map_err(error)?).await;
        let outcomes: Array = outcomes.and_then(JsCast::dyn_into).map_err(error)?;
        outcomes.iter().map(|outcome| changed(&outcome.unchecked_into())).collect()
    }
}

/// The number of rows that a statement has changed.
fn changed(outcome: &Outcome) -> Result<u64, DbError> {
    if !outcome.success().map_err(error)?.is_truthy() {
        let reason = outcome.error().map_err(error)?.as_string();
        return Err(DbError(reason.unwrap_or_else(|| "a statement without success".into())));
    }
    let meta = outcome.meta().map_err(error)?;
    let changes = [meta.changes(), meta.rows_written()];
    let changes = changes.into_iter().find_map(|number| number.ok()?.as_f64());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    changes.map(|changes| changes as u64).ok_or_else(|| DbError("no row count".into()))
}

fn bind(statement: Prepared, params: &[Param<'_>]) -> Result<Prepared, DbError> {
    if params.is_empty() {
        return Ok(statement);
    }
    let values = Array::new();
    for param in params {
        values.push(&match *param {
            Param::Null => JsValue::NULL,
            Param::Int(number) => JsValue::from_f64(
                exact_double(number).ok_or_else(|| DbError(format!("{number} is not exact as a JavaScript number")))?,
            ),
            Param::Text(text) => JsValue::from_str(text),
        });
    }
    statement.bind(&values).map_err(error)
}

fn row(values: JsValue) -> Result<Row, DbError> {
    let values: Array = values.dyn_into().map_err(error)?;
    let cell = |value: JsValue| match (value.as_f64(), value.as_string()) {
        (Some(number), _) => Cell::Number(number),
        (None, Some(text)) => Cell::Text(text),
        (None, None) => Cell::Null,
    };
    Ok(Row(values.iter().map(cell).collect()))
}

fn error(thrown: JsValue) -> DbError {
    DbError(failure::thrown_text(thrown))
}
