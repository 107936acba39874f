//! From what an agent reports to what is counted. Agents report sums of their own session; what counts is how they rise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MAX_CURRENCIES, Used, is_currency};

/// What an agent reports about its use (agents.md 4.4).
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// `usage_update`: the tokens that are in the context now, and the money that its session has cost.
    Context {
        /// Tokens.
        tokens: Option<u64>,
        /// Amount and currency.
        cost: Option<(f64, String)>,
    },
    /// The result of a prompt: all tokens of its session.
    Tokens(u64),
}

/// What the agent's present session has reported so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Meter {
    /// Which session.
    session: Option<String>,
    /// Tokens that were counted for it.
    counted: u64,
    /// The last sum of tokens that it told.
    exact: Option<u64>,
    /// The last size of its context.
    context: u64,
    /// The last amounts by currency; at most [`MAX_CURRENCIES`].
    cost: BTreeMap<String, f64>,
    /// Whether an earlier session told the size of its context only.
    was_estimated: bool,
}

impl Meter {
    /// What a report adds. None when it adds nothing.
    pub fn take(&mut self, session: Option<&str>, report: &Report) -> Option<Used> {
        if session.is_some() && session != self.session.as_deref() {
            let was_estimated = self.is_estimated();
            *self = Self { session: session.map(str::to_owned), was_estimated, ..Self::default() };
        }
        let mut added = Used::default();
        match report {
            Report::Tokens(sum) => {
                if self.exact.is_some_and(|before| *sum < before) {
                    // It counts anew.
                    self.counted = 0;
                }
                self.exact = Some(*sum);
                added.tokens = sum.saturating_sub(self.counted);
                self.counted = self.counted.max(*sum);
            }
            Report::Context { tokens, cost } => {
                if let (Some(tokens), None) = (tokens, self.exact) {
                    added.tokens = tokens.saturating_sub(self.context);
                    self.counted = self.counted.saturating_add(added.tokens);
                }
                self.context = tokens.unwrap_or(self.context);
                if let Some((amount, currency)) = cost {
                    self.take_cost(*amount, currency, &mut added);
                }
            }
        }
        added.estimated = self.is_estimated();
        let is_nothing = added.tokens == 0 && added.cost.is_empty();
        (!is_nothing).then_some(added)
    }

    /// Whether some tokens are a lower bound.
    pub fn is_estimated(&self) -> bool {
        self.was_estimated || (self.exact.is_none() && self.counted > 0)
    }

    fn take_cost(&mut self, amount: f64, currency: &str, added: &mut Used) {
        let is_known = self.cost.contains_key(currency);
        if !is_currency(currency) || !amount.is_finite() || amount < 0.0 {
            return;
        }
        if !is_known && self.cost.len() >= MAX_CURRENCIES {
            return;
        }
        let before = self.cost.insert(currency.to_owned(), amount).unwrap_or_default();
        // A smaller amount is that of a new count.
        let rise = if amount < before { amount } else { amount - before };
        if rise > 0.0 {
            added.add_cost(currency, rise);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(tokens: u64) -> Report {
        Report::Context { tokens: Some(tokens), cost: None }
    }

    fn cost(amount: f64, currency: &str) -> Report {
        Report::Context { tokens: None, cost: Some((amount, currency.to_owned())) }
    }

    fn sums(reports: &[(&str, Report)]) -> Used {
        let mut meter = Meter::default();
        let mut used = Used::default();
        for (session, report) in reports {
            if let Some(added) = meter.take(Some(session), report) {
                used.add(&added);
            }
        }
        used.estimated = meter.is_estimated();
        used
    }

    #[test]
    fn tokens_are_counted_as_they_rise() {
        let exact = [("a", Report::Tokens(100)), ("a", Report::Tokens(250)), ("a", Report::Tokens(40))];
        assert_eq!((sums(&exact).tokens, sums(&exact).estimated), (290, false), "a fall is a new count");
        let moved = [("a", Report::Tokens(100)), ("b", Report::Tokens(100))];
        assert_eq!(sums(&moved).tokens, 200, "another session of the agent counts on its own");
        let again = [("a", Report::Tokens(100)), ("a", Report::Tokens(100))];
        assert_eq!(sums(&again).tokens, 100, "a report that is repeated adds nothing");
    }

    #[test]
    fn the_size_of_the_context_is_a_lower_bound() {
        let used = sums(&[("a", context(1_000)), ("a", context(1_500)), ("a", context(200)), ("a", context(300))]);
        assert_eq!((used.tokens, used.estimated), (1_600, true));
        let then_exact = sums(&[("a", context(1_000)), ("a", Report::Tokens(1_400)), ("a", context(5_000))]);
        assert_eq!(
            (then_exact.tokens, then_exact.estimated),
            (1_400, false),
            "the sum takes the place of the estimate"
        );
    }

    #[test]
    fn money_is_counted_as_it_rises() {
        let used = sums(&[
            ("a", cost(0.5, "USD")),
            ("a", cost(0.75, "USD")),
            ("a", cost(0.25, "USD")),
            ("a", cost(3.0, "EUR")),
            ("a", cost(-1.0, "USD")),
            ("a", cost(f64::NAN, "USD")),
            ("a", cost(9.0, "not a currency")),
        ]);
        assert_eq!(used.cost, [("EUR".to_owned(), 3.0), ("USD".to_owned(), 1.0)].into());
    }
}
