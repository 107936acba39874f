//! Compare and set (datascript.md 9.3 rule 4).

use transit::Value;

use super::add::Holder;
use super::place::Place;
use super::run::{Run, Step, bad_attribute, nil_value};
use crate::describe::describe;
use crate::error::{ErrorKind, TransactError};
use crate::index::{Index, Pattern};
use crate::value;

impl<'a> Run<'a> {
    /// Adds `[e a new]` if the entity's current value is `old` (nil: has none), or `old` is among its values.
    pub(super) fn cas(&mut self, e: Place<'a>, a: &'a Value, old: &'a Value, new: &'a Value) -> Step<'a> {
        let e = self.strict(e)?;
        let Value::Keyword(keyword) = a else { return Err(bad_attribute(a)) };
        let a = self.intern(keyword)?;
        let old = self.plain_operand(a, old)?;
        let new = self.plain_operand(a, new)?;
        if new.is_nil() {
            return Err(nil_value(keyword));
        }
        if self.is_excepted(e) {
            return Ok(());
        }
        let holds = if self.db.flags(a).is_many() {
            self.db.first(Index::Eavt, &Pattern::eav(e, a, &old))?.is_some()
        } else {
            value::same(&self.db.value(e, a)?.unwrap_or_default(), &old)
        };
        if !holds {
            let message = format!(":db.fn/cas failed on {} of entity {e}", describe(&Value::Keyword(keyword.clone())));
            return Err(TransactError::new(ErrorKind::TransactCas, message).attribute(keyword.clone()).into());
        }
        self.assert_fact(e, a, new, None, Holder::Unknown)
    }
}
