//! The body of `POST /sessions/:id/budget` (agents.md 20.1).

use super::fields::required_object;
use crate::error::Error;
use crate::session::budget::Budget;

/// The new limits.
///
/// # Errors
/// [`Error::MissingBody`], [`Error::InvalidBody`] for everything that is no budget.
pub fn budget(body: &[u8]) -> Result<Budget, Error> {
    let members = required_object(body)?;
    let budget = members.get("budget").ok_or(Error::InvalidBody)?;
    Budget::read(budget).map_err(|_| Error::InvalidBody)
}
