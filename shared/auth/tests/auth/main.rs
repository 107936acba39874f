//! Authentication from outside: tokens that count, tokens that do not, and the life of a key set.

mod attacks;
mod issuers;
mod key_sets;
mod recorded;
mod support;
mod tokens;
