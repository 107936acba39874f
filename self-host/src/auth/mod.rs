//! Who may come in: key sets of issuers, and stored users with their tokens.

mod keys;
pub(crate) mod token;

pub(crate) use keys::HttpKeys;
