//! Vector and datom items (datascript.md 9.3).

use transit::Value;

use super::add::Holder;
use super::place::{NIL, Place};
use super::run::{Operand, Run, Step, bad_attribute, nil_value, refuse};
use crate::attrs::Attr;
use crate::datom::{TX0, TxId};
use crate::describe::describe;
use crate::error::ErrorKind;
use crate::transact::retract::Scope;

/// The built-in operations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Retract,
    RetractAttribute,
    RetractEntity,
    Cas,
}

impl<'a> Run<'a> {
    /// Processes `[op e a v t]`.
    pub(super) fn vector(&mut self, fields: &'a [Value]) -> Step<'a> {
        let field = |at: usize| fields.get(at).unwrap_or(&NIL);
        let (op, e, a, v) = (field(0), Place::of(field(1)), field(2), field(3));
        let known = self.operation(op)?;
        if e.is_tempid() && known != Some(Op::Add) {
            let message = format!(
                "Can't use tempid {} with {}. Tempids are allowed in :db/add only",
                describe(field(1)),
                describe(op)
            );
            return Err(refuse(ErrorKind::TransactSyntax, message));
        }
        match known {
            Some(Op::Add) => {
                let a = self.attribute(a, v)?;
                self.add(e, a, Operand::Value(v), explicit_tx(fields.get(4)))
            }
            Some(Op::Retract) => self.retract(e, a, v, Scope::Value),
            Some(Op::RetractAttribute) => self.retract(e, a, v, Scope::Attribute),
            Some(Op::RetractEntity) => {
                let e = self.name_tx(e);
                match self.lenient(e)? {
                    Some(e) => self.retract_entity(e),
                    None => Ok(()),
                }
            }
            Some(Op::Cas) => self.cas(e, a, v, field(4)),
            None => {
                let message = format!(
                    "Unknown operation {}, expected :db/add, :db/retract, :db.fn/cas, :db.fn/retractAttribute or \
                     :db.fn/retractEntity",
                    describe(op)
                );
                Err(refuse(ErrorKind::TransactSyntax, message))
            }
        }
    }

    /// Processes a datom: an assertion with its own transaction id, or a retraction.
    pub(super) fn datom(&mut self, fields: &'a Value) -> Step<'a> {
        let fields = fields.as_seq().unwrap_or_default();
        let [e, a, v, rest @ ..] = fields else {
            return Err(refuse(ErrorKind::TransactSyntax, "Bad datom, expected entity, attribute and value"));
        };
        if rest.get(1).is_some_and(|added| !added.is_truthy()) {
            let e = Place::of(e);
            if e.is_tempid() {
                return Err(refuse(ErrorKind::TransactSyntax, "Can't use tempid in a retracted datom"));
            }
            return self.retract(e, a, v, Scope::Value);
        }
        let a = self.attribute(a, v)?;
        let e = self.strict(Place::of(e))?;
        let v = self.plain_operand(a, v)?;
        self.assert_fact(e, a, v, explicit_tx(rest.first()), Holder::Unknown)
    }

    fn operation(&self, op: &Value) -> Step<'a, Option<Op>> {
        let Value::Keyword(keyword) = op else { return Ok(None) };
        Ok(Some(match keyword.as_str() {
            "db/add" => Op::Add,
            "db/retract" => Op::Retract,
            "db/retractEntity" | "db.fn/retractEntity" => Op::RetractEntity,
            "db.fn/retractAttribute" => Op::RetractAttribute,
            "db/cas" | "db.fn/cas" => Op::Cas,
            "db.fn/call" => return Err(refuse(ErrorKind::TransactSyntax, "Transaction functions are not supported")),
            _ => {
                let message = if self.db.ident_of(keyword)?.is_some() {
                    format!("Entity {} expected to have :db/fn attribute with fn? value", describe(op))
                } else {
                    format!("Can't find entity for transaction fn {}", describe(op))
                };
                return Err(refuse(ErrorKind::TransactSyntax, message));
            }
        }))
    }

    /// The attribute of an assertion, known to the interner from now on; and its value must not be nil.
    fn attribute(&mut self, a: &Value, v: &Value) -> Step<'a, Attr> {
        let Value::Keyword(keyword) = a else { return Err(bad_attribute(a)) };
        if v.is_nil() {
            return Err(nil_value(keyword));
        }
        self.intern(keyword)
    }
}

/// The transaction id of an item, if it has one that can be a transaction's (DS-5). Ids beyond the middle of their range
/// are ignored: the next transaction takes the id after the greatest, and one very great id would leave none to take.
fn explicit_tx(value: Option<&Value>) -> Option<TxId> {
    const GREATEST: TxId = 2 * TX0;
    let number = value?.as_int()?;
    TxId::try_from(number).ok().filter(|tx| (TX0..=GREATEST).contains(tx))
}
