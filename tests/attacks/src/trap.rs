//! A server inside of what must not be reached: it counts who comes.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A port of this machine on which nobody has any business.
pub struct Trap {
    pub port: u16,
    visits: Arc<AtomicUsize>,
}

impl Trap {
    /// Listens for the life of the process, over IPv4 and, where there is one, IPv6.
    pub fn set() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let visits = Arc::new(AtomicUsize::new(0));
        for listener in [Some(listener), TcpListener::bind(("::1", port)).ok()].into_iter().flatten() {
            let counted = Arc::clone(&visits);
            std::thread::spawn(move || {
                for _visitor in listener.incoming().flatten() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { port, visits }
    }

    /// Fails the case if anybody came.
    #[track_caller]
    pub fn is_untouched(&self) {
        assert_eq!(self.visits.load(Ordering::Relaxed), 0, "somebody was sent to port {} of this machine", self.port);
    }
}
