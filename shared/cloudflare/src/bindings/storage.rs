//! Storage of a Durable Object: synchronous transactions, and SQL cursors whose errors are results.
//!
//! The `worker` crate imports `next`, `toArray` and `one` of cursors without `catch`: an error of SQLite would pass
//! through our frames, run no destructors and leave a borrow held.

use js_sys::{Array, Iterator, JsString, Promise};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage` of a Durable Object.
    pub type Storage;

    /// `ctx.storage.sql`.
    #[wasm_bindgen(method, catch, getter)]
    pub fn sql(this: &Storage) -> Result<SqlStorage, JsValue>;

    /// Runs `body` in a transaction that commits when it returns and rolls back when it throws. What it throws is the
    /// error.
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    pub fn transaction_sync(this: &Storage, body: &mut dyn FnMut() -> Result<(), JsValue>) -> Result<JsValue, JsValue>;

    /// Removes everything, tables included. The tables are gone when this returns; the promise is of durability.
    #[wasm_bindgen(method, catch, js_name = deleteAll)]
    pub fn delete_all(this: &Storage) -> Result<Promise, JsValue>;

    /// Synchronous SQL over the object's database.
    pub type SqlStorage;

    /// Runs the statement up to its first row. The runtime keeps compiled statements by their text.
    #[wasm_bindgen(method, catch, variadic)]
    pub fn exec(this: &SqlStorage, statement: &JsString, parameters: &Array) -> Result<Cursor, JsValue>;

    /// Rows of a running statement.
    pub type Cursor;

    /// Iterates over the rows as arrays, columns in the order of the statement.
    #[wasm_bindgen(method, catch)]
    pub fn raw(this: &Cursor) -> Result<Iterator, JsValue>;
}
