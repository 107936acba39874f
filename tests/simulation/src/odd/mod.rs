//! Random graphs of odd facts: odd values, odd schemas, odd names, in odd order.
//!
//! One seed makes one [plan], which is played over one graph in one process as clients would: batches,
//! reopenings, uploads of the graph's own rows. After each step the graph is compared with itself reopened, with a
//! second implementation of the specified orders, with its log, and with the answers that clients got. Now and then a
//! reader that shares no code with the server decodes its rows. A plan that fails is made smaller and written to a
//! file.

mod avet;
mod digest;
mod facts;
mod failure;
mod items;
mod log;
mod make;
mod mentions;
mod model;
mod names;
mod order;
mod plan;
mod play;
mod reader;
mod run;
mod schema;
mod shrink;
mod stats;
mod told;
mod valid;
mod values;

pub use failure::Kind;
pub use run::{Options, Summary, replay, run_all};
pub use stats::Stats;
