//! Many sockets to write to; everything that comes back is read and thrown away.

use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use conformance::Socket;

/// Reads from the sockets, so that the server can go on sending.
pub struct Drain {
    over: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    reader: JoinHandle<()>,
}

impl Drain {
    pub fn of(sockets: &[Socket]) -> Self {
        let mut streams: Vec<_> = sockets
            .iter()
            .map(|socket| {
                let stream = socket.stream().try_clone().expect("a second handle");
                stream.set_read_timeout(Some(Duration::from_millis(1))).expect("timeout");
                stream
            })
            .collect();
        let (over, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted) = (Arc::clone(&over), Arc::clone(&bytes));
        let reader = std::thread::spawn(move || {
            let mut part = vec![0; 1 << 16];
            while !ended.load(Ordering::Relaxed) {
                streams.retain_mut(|stream| match stream.read(&mut part) {
                    Ok(0) => false,
                    Ok(read) => {
                        counted.fetch_add(read as u64, Ordering::Relaxed);
                        true
                    }
                    Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                });
            }
        });
        Self { over, bytes, reader }
    }

    /// Stops reading; gives the number of bytes that came.
    pub fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.reader.join().expect("the reader ends");
        self.bytes.load(Ordering::Relaxed)
    }
}
