//! The running server: fronts that answer connections, over the index, the graphs and the assets.

mod agents;
mod connection;
pub(crate) mod client;
mod fronts;
mod health;
mod platform;
mod socket;

pub(crate) use agents::Agents;
pub(crate) use fronts::{Fronts, Shared};
pub(crate) use platform::Front;
