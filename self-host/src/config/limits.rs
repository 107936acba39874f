//! How much the server takes at once (self-host.md 9.3).

use std::time::Duration;

use super::settings::Reader;

/// All limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) connections: usize,
    /// Connections of one address at once.
    pub(crate) per_address: usize,
    /// Sockets of a user on a graph.
    pub(crate) user_sockets: usize,
    /// Sockets of a graph.
    pub(crate) graph_sockets: usize,
    /// Bytes of a request's head.
    pub(crate) head_bytes: usize,
    /// Time for it.
    pub(crate) head: Duration,
    /// Time between pieces of a body.
    pub(crate) body_idle: Duration,
    /// Time between two requests on a connection.
    pub(crate) keep_alive: Duration,
    /// Time between pings of a socket.
    pub(crate) ping: Duration,
    /// Bytes that may wait for the reader of a socket.
    pub(crate) unread: usize,
    /// Tokens that count for nothing, which one address may show in a minute.
    pub(crate) failed_logins: u32,
    /// Graphs open at once.
    pub(crate) open_graphs: usize,
    /// Downloads of a graph at once.
    pub(crate) exports: usize,
}

impl Limits {
    /// As the configuration has them.
    pub(super) fn read(read: &Reader<'_>) -> Self {
        Self {
            connections: read.size("limits.connections"),
            per_address: read.size("limits.per_address"),
            user_sockets: read.size("limits.user_sockets"),
            graph_sockets: read.size("limits.graph_sockets"),
            head_bytes: read.size("limits.header_kib").saturating_mul(1 << 10),
            head: read.seconds("limits.header_s"),
            body_idle: read.seconds("limits.idle_s"),
            keep_alive: read.seconds("limits.keep_alive_s"),
            ping: read.seconds("limits.ping_s"),
            unread: read.size("limits.unread_mib").saturating_mul(1 << 20),
            failed_logins: u32::try_from(read.number("limits.failed_logins")).unwrap_or(u32::MAX),
            open_graphs: read.size("limits.open_graphs"),
            exports: read.size("limits.exports"),
        }
    }
}
