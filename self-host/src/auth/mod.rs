//! Who may come in: key sets of issuers, and stored users with their tokens.

mod keys;
mod stored;
pub(crate) mod token;
mod users;

pub(crate) use keys::HttpKeys;
pub(crate) use stored::Stored;
pub(crate) use users::{Listed, ListedToken, NewToken, NewUser, Users, UsersError};
