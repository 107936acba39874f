//! What a session may use, and what it has used (agents.md 20.1).

mod limits;
mod meter;
mod used;

pub use limits::{Budget, BudgetError, Cost, Kind, Scope, Spent};
pub use meter::{Meter, Report};
pub use used::{Day, Reached, Usage, Used, day_of};

/// Currencies that are counted in one session; reports in further ones are left out.
pub const MAX_CURRENCIES: usize = 8;
/// The longest name of a currency, in bytes.
pub const MAX_CURRENCY_BYTES: usize = 8;

/// Whether a text can be the name of a currency.
pub(crate) fn is_currency(text: &str) -> bool {
    (1..=MAX_CURRENCY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A number as clients see it: whole ones without a point.
pub(crate) fn shown(number: f64) -> serde_json::Value {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 is one of i64 as well")]
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 { (number as i64).into() } else { number.into() }
}
