//! The running server: fronts that answer connections, over the index, the graphs and the assets.

mod agents;
pub(crate) mod client;
mod connection;
mod forwarded;
mod fronts;
mod health;
mod live;
mod measure;
mod notify;
mod operator;
mod places;
mod platform;
mod server;
mod socket;
mod space;
mod strikes;
mod tls;

pub(crate) use forwarded::Trusted;
pub(crate) use operator::OperatorToken;
pub(crate) use server::{End, RELOADED, Reload, Server, StartError};
pub(crate) use tls::TlsError;
