//! How many connections one address may have (self-host.md 9.3).

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::live::Live;

/// Connections by the address of their other end. This machine's own are not counted.
pub(crate) struct Places {
    /// Connections of an address.
    pub(crate) limit: Live<usize>,
    taken: Mutex<keyed::Map<IpAddr, usize>>,
}

/// A place, which is free again when this is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    address: IpAddr,
}

impl Places {
    /// So many for each address.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: Live::new(limit), taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, keyed::Map<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection, if its address has one left.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Place<'_>> {
        let address = address.to_canonical();
        if !address.is_loopback() {
            let mut taken = self.taken();
            let count = taken.entry(address).or_default();
            if *count >= self.limit.get() {
                return None;
            }
            *count += 1;
        }
        Some(Place { places: self, address })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.address.is_loopback() {
            return;
        }
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_this_machine_any_number() {
        let places = Places::new(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (first, second) = (places.enter(address("10.0.0.1")), places.enter(address("::ffff:10.0.0.1")));
        assert!(first.is_some() && second.is_some());
        assert!(places.enter(address("10.0.0.1")).is_none(), "both forms are one address");
        assert!(places.enter(address("10.0.0.2")).is_some());
        drop(first);
        assert!(places.enter(address("10.0.0.1")).is_some());
        drop(second);
        assert!(places.taken().is_empty());
        let own: Vec<_> = (0..10).map(|_| places.enter(address("127.0.0.1"))).collect();
        assert!(own.iter().all(Option::is_some));
    }
}
