//! Observation of Postgres's changes (docs/spec/pg-sync.md): whoever asks to be woken when rows of a table change is woken,
//! once for each change that matters; nothing is lost across restarts, rotations and outages, and nothing is invented.
//!
//! Postgres is reached through the HTTP shape service of Electric alone: a *shape* is a part of a table, served as a log with
//! offsets. A *bridge* ([`bridge`]) follows one shape for all who observe it. It is a state machine without input and output:
//! [`bridge::decide`] takes what happened and the time, and says what to store and what to do. Around it: what is observed
//! ([`options`], [`identity`], [`mod@reference`]), requests and answers ([`shape`], [`answer`], [`decode`]), what is kept and told
//! ([`change`], [`ring`], [`body`]), when ([`wake`]), and what a gap has hidden ([`rows`], [`snapshot`]). [`store`] is the SQL of it, over a port; [`changes`] and [`events`] are the log as others read it.

pub mod answer;
pub mod body;
pub mod bridge;
pub mod change;
pub mod changes;
pub mod connection;
pub mod decode;
pub mod events;
pub mod fields;
pub mod identity;
mod js;
pub mod options;
pub mod paths;
pub mod reference;
pub mod register;
pub mod ring;
pub mod rows;
pub mod shape;
pub mod snapshot;
pub mod store;
pub mod wake;
