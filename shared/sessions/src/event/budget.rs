//! What is told about budgets (agents.md 20.1).

use serde_json::{Map, Value};

use super::drafts::{by, with};
use super::{Draft, Kind};
use crate::session::budget::{self, Budget, Scope, shown};

impl Draft {
    /// Four fifths of a limit are used.
    pub fn budget_warning(
        scope: Scope,
        kind: budget::Kind,
        limit: f64,
        used: f64,
        currency: Option<&str>,
        estimated: bool,
    ) -> Self {
        Self::new(Kind::BudgetWarning, amounts(scope, kind, limit, used, currency, estimated))
    }

    /// A limit is used up.
    pub fn budget_reached(
        scope: Scope,
        kind: budget::Kind,
        limit: f64,
        used: f64,
        currency: Option<&str>,
        estimated: bool,
    ) -> Self {
        Self::new(Kind::BudgetReached, amounts(scope, kind, limit, used, currency, estimated))
    }

    /// The creator of the session set new limits.
    pub fn budget_raised(user: &str, budget: &Budget) -> Self {
        Self::new(Kind::BudgetRaised, with(by(user), [("budget", Some(budget.shown()))]))
    }
}

fn amounts(scope: Scope, kind: budget::Kind, limit: f64, used: f64, currency: Option<&str>, estimated: bool) -> Value {
    let is_estimated = estimated && kind == budget::Kind::Tokens;
    with(
        Map::new(),
        [
            ("scope", Some(scope.as_str().into())),
            ("kind", Some(kind.as_str().into())),
            ("limit", Some(shown(limit))),
            ("used", Some(shown(used))),
            ("currency", currency.map(Value::from)),
            ("estimated", is_estimated.then_some(Value::Bool(true))),
        ],
    )
}
