//! [`Sql`] over the database of a Durable Object.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use database::Param;
use database::exact_double;
use database::local::{OnRow, Row, Sql, SqlError};
use js_sys::{Array, JsString};
use wasm_bindgen::{JsCast as _, JsValue};
use worker::State;

use crate::bindings::storage::{SqlStorage, Storage};
use crate::bindings::text;
use crate::failure::thrown_text;

/// More statement texts than the graph crate has; beyond them a text is converted at each use.
const MAX_STATEMENTS: usize = 128;

/// The database of the graph that a Durable Object owns.
pub struct DurableSql {
    storage: Storage,
    sql: SqlStorage,
    /// Statement texts as JavaScript strings: most are longer than the values bound to them.
    statements: RefCell<HashMap<Box<str>, JsString>>,
    in_transaction: Cell<bool>,
}

impl DurableSql {
    /// The database of the object that `state` belongs to.
    pub fn new(state: &State) -> Result<Self, SqlError> {
        let storage: Storage = state.as_raw().storage().map_err(error)?.unchecked_into();
        let sql = storage.sql().map_err(error)?;
        Ok(Self { storage, sql, statements: RefCell::default(), in_transaction: Cell::new(false) })
    }

    fn statement(&self, sql: &str) -> JsString {
        let mut statements = self.statements.borrow_mut();
        if let Some(statement) = statements.get(sql) {
            return statement.clone();
        }
        let statement = JsString::from(sql);
        if statements.len() < MAX_STATEMENTS {
            statements.insert(sql.into(), statement.clone());
        }
        statement
    }
}

impl Sql for DurableSql {
    fn query(&self, sql: &str, params: &[Param<'_>], row: &mut OnRow<'_>) -> Result<(), SqlError> {
        let cursor = self.sql.exec(&self.statement(sql), &bound(params)?).map_err(error)?;
        let rows = cursor.raw().map_err(error)?;
        loop {
            let next = rows.next().map_err(error)?;
            if next.done() || row(&ResultRow(next.value().unchecked_into()))?.is_break() {
                return Ok(());
            }
        }
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<(), SqlError> {
        // A statement without result rows has run to its end when `exec` returns.
        self.sql.exec(&self.statement(sql), &bound(params)?).map(drop).map_err(error)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), SqlError>) -> Result<(), SqlError> {
        if self.in_transaction.replace(true) {
            return Err(SqlError::Other("a transaction inside a transaction".into()));
        }
        let mut failure = None;
        let outcome = self.storage.transaction_sync(&mut || {
            body().map_err(|cause| {
                failure = Some(cause);
                // Thrown through `transactionSync`, which rolls back.
                JsValue::NULL
            })
        });
        self.in_transaction.set(false);
        match (outcome, failure) {
            (_, Some(cause)) => Err(cause),
            (Err(thrown), None) => Err(error(thrown)),
            (Ok(_), None) => Ok(()),
        }
    }

    fn delete_all(&self) -> Result<(), SqlError> {
        if self.in_transaction.get() {
            // The runtime would lose its savepoint and break the object.
            return Err(SqlError::Other("everything deleted inside a transaction".into()));
        }
        // The output gate holds every answer until the deletion is durable: nobody needs to await the promise.
        self.storage.delete_all().map(drop).map_err(error)
    }
}

fn bound(params: &[Param<'_>]) -> Result<Array, SqlError> {
    let array = Array::new();
    for param in params {
        array.push(&match *param {
            Param::Null => JsValue::NULL,
            Param::Int(number) => number_to_js(number)?,
            Param::Text(text) => JsValue::from_str(text),
        });
    }
    Ok(array)
}

fn number_to_js(number: i64) -> Result<JsValue, SqlError> {
    let inexact = || SqlError::Other(format!("{number} is not exact as a JavaScript number"));
    exact_double(number).map(JsValue::from_f64).ok_or_else(inexact)
}

struct ResultRow(Array);

impl ResultRow {
    /// The value in `column`; `None` for `NULL`.
    fn get(&self, column: usize) -> Option<JsValue> {
        let value = self.0.get(u32::try_from(column).unwrap_or(u32::MAX));
        (!value.is_null()).then_some(value)
    }
}

impl Row for ResultRow {
    fn int(&self, column: usize) -> Result<Option<i64>, SqlError> {
        let Some(value) = self.get(column) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "only whole numbers that a double holds exactly pass")]
        let number = value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64);
        match number.filter(|number| exact_double(*number).is_some()) {
            Some(number) => Ok(Some(number)),
            None => Err(SqlError::Other(format!("column {column} is not an integer"))),
        }
    }

    fn text(&self, column: usize) -> Result<Option<Cow<'_, str>>, SqlError> {
        let Some(value) = self.get(column) else { return Ok(None) };
        match value.dyn_ref::<JsString>() {
            Some(text) => Ok(Some(Cow::Owned(text::to_string(text)))),
            None => Err(SqlError::Other(format!("column {column} is not text"))),
        }
    }
}

/// What the runtime threw, sorted by its message.
fn error(thrown: JsValue) -> SqlError {
    SqlError::from_message(thrown_text(thrown))
}
