//! What is told about budgets (agents.md 20.1).

use serde_json::{Map, Value};

use super::drafts::{by, with};
use super::{Draft, Kind};
use crate::session::budget::{self, Budget, Spent, shown};

impl Draft {
    /// Four fifths of a limit are used.
    pub fn budget_warning(spent: &Spent<'_>) -> Self {
        Self::new(Kind::BudgetWarning, amounts(spent))
    }

    /// A limit is used up.
    pub fn budget_reached(spent: &Spent<'_>) -> Self {
        Self::new(Kind::BudgetReached, amounts(spent))
    }

    /// The creator of the session set new limits.
    pub fn budget_raised(user: &str, budget: &Budget) -> Self {
        Self::new(Kind::BudgetRaised, with(by(user), [("budget", Some(budget.shown()))]))
    }
}

fn amounts(spent: &Spent<'_>) -> Value {
    let is_estimated = spent.estimated && spent.kind == budget::Kind::Tokens;
    let currency = spent.currency.filter(|_| spent.kind == budget::Kind::Cost);
    with(
        Map::new(),
        [
            ("scope", Some(spent.scope.as_str().into())),
            ("kind", Some(spent.kind.as_str().into())),
            ("limit", Some(shown(spent.limit))),
            ("used", Some(shown(spent.used))),
            ("currency", currency.map(Value::from)),
            ("estimated", is_estimated.then_some(Value::Bool(true))),
        ],
    )
}
