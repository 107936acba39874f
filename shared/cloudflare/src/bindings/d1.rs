//! D1, with everything that it throws as a result.
//!
//! The `worker` crate unwraps what `prepare` throws, and the outcome of statements. A panic would end the instance of
//! WebAssembly, and with it whatever all its graphs were doing.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A database, or a session of one.
    pub type Database;

    /// A statement without values.
    #[wasm_bindgen(method, catch)]
    pub fn prepare(this: &Database, sql: &str) -> Result<Prepared, JsValue>;

    /// A session that begins at the copy that the constraint names.
    #[wasm_bindgen(method, catch, js_name = withSession)]
    pub fn with_session(this: &Database, constraint: Option<&str>) -> Result<Database, JsValue>;

    /// Runs statements in one transaction. Gives an array of outcomes.
    #[wasm_bindgen(method, catch)]
    pub fn batch(this: &Database, statements: &Array) -> Result<Promise, JsValue>;

    /// A statement.
    pub type Prepared;

    /// The statement with these values.
    #[wasm_bindgen(method, catch, variadic)]
    pub fn bind(this: &Prepared, values: &Array) -> Result<Prepared, JsValue>;

    /// Runs it. Gives an outcome.
    #[wasm_bindgen(method, catch)]
    pub fn run(this: &Prepared) -> Result<Promise, JsValue>;

    /// Runs it. Gives an array of rows, each an array of values.
    #[wasm_bindgen(method, catch)]
    pub fn raw(this: &Prepared) -> Result<Promise, JsValue>;

    /// What became of a statement.
    pub type Outcome;

    /// Whether it was done.
    #[wasm_bindgen(method, catch, getter)]
    pub fn success(this: &Outcome) -> Result<JsValue, JsValue>;

    /// Why it was not done.
    #[wasm_bindgen(method, catch, getter)]
    pub fn error(this: &Outcome) -> Result<JsValue, JsValue>;

    /// Figures about it.
    #[wasm_bindgen(method, catch, getter)]
    pub fn meta(this: &Outcome) -> Result<Meta, JsValue>;

    /// Figures about a statement.
    pub type Meta;

    /// Rows that it changed.
    #[wasm_bindgen(method, catch, getter)]
    pub fn changes(this: &Meta) -> Result<JsValue, JsValue>;

    /// Rows that it wrote, index entries included.
    #[wasm_bindgen(method, catch, getter, js_name = rows_written)]
    pub fn rows_written(this: &Meta) -> Result<JsValue, JsValue>;
}
