//! How often an address may show tokens that count for nothing (self-host.md 9.3): whoever guesses is slowed down.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use keyed::Cache;

use super::live::Live;

/// The time over which failures are counted, in milliseconds.
const WINDOW_MS: i64 = 60_000;

/// Addresses that are remembered; the one that was there first is forgotten.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Failures of the running minute, by address. This machine's own are not counted, unless that was asked for.
pub(crate) struct Strikes {
    /// Failures of an address in a minute.
    pub(crate) limit: Live<u32>,
    counts: Cache<IpAddr, (i64, u32)>,
    counts_own: bool,
}

impl Strikes {
    /// So many a minute for each address.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: Live::new(limit), counts: Cache::new(ADDRESSES), counts_own: false }
    }

    /// The same, but that this machine's own are counted, too.
    pub(crate) fn of_all(limit: u32) -> Self {
        Self { counts_own: true, ..Self::new(limit) }
    }

    /// For how many seconds an address is not let in; none where it is.
    pub(super) fn out_for(&self, address: IpAddr, now_ms: i64) -> Option<u64> {
        let address = address.to_canonical();
        let (begun, count) = self.counts.get(&address, now_ms)?;
        let left = begun.saturating_add(WINDOW_MS).saturating_sub(now_ms);
        (count >= self.limit.get() && left > 0).then(|| u64::try_from(left).unwrap_or_default().div_ceil(1000))
    }

    /// An address has failed once more.
    pub(super) fn add(&self, address: IpAddr, now_ms: i64) {
        let address = address.to_canonical();
        if address.is_loopback() && !self.counts_own {
            return;
        }
        let (begun, count) = self.counts.get(&address, now_ms).unwrap_or((now_ms, 0));
        self.counts.put(address, (begun, count.saturating_add(1)), begun..begun.saturating_add(WINDOW_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_a_minute_and_this_machine_any_number() {
        let strikes = Strikes::new(2);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        strikes.add(address, 0);
        assert_eq!(strikes.out_for(address, 1_000), None);
        strikes.add(mapped, 1_000);
        assert_eq!(strikes.out_for(address, 1_000), Some(59), "both forms are one address");
        assert_eq!(strikes.out_for("10.0.0.2".parse().unwrap(), 1_000), None);
        assert_eq!(strikes.out_for(address, 60_000), None, "the minute is over");
        for _ in 0..9 {
            strikes.add("127.0.0.1".parse().unwrap(), 0);
        }
        assert_eq!(strikes.out_for("127.0.0.1".parse().unwrap(), 0), None);
    }
}
