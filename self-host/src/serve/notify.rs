//! What a service manager is told (self-host.md 3.4): systemd's datagrams, where it has named a socket for them.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where a service manager listens.
pub(crate) struct Notifier {
    to: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// By the variables that a service manager sets.
    pub(crate) fn of_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok();
        let address = |name: String| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        };
        let for_us = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = var("WATCHDOG_USEC").filter(|_| for_us).and_then(|micros| micros.parse().ok());
        Self { to: var("NOTIFY_SOCKET").and_then(address), watchdog: micros.map(Duration::from_micros) }
    }

    /// How often it wants to hear that all is well: half of what it waits.
    pub(super) fn beat(&self) -> Option<Duration> {
        let half = self.watchdog? / 2;
        (self.to.is_some() && !half.is_zero()).then_some(half)
    }

    /// Connections are accepted.
    pub(super) fn ready(&self, status: &str) {
        let pid = std::process::id();
        self.tell(&format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`ready`](Self::ready) follows.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end has begun, and takes this long at most.
    pub(super) fn stopping(&self, limit: Duration) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", limit.as_micros()));
    }

    /// All is well.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        if let Some(to) = &self.to {
            // One that is gone hears nothing, and it is not our affair.
            let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(text.as_bytes(), to));
        }
    }
}
