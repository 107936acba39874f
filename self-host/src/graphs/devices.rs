//! Which devices sit at graphs, and how much they have seen (self-host.md 4.5): in memory alone, and for a day after they went.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Holder;

/// How long a device that has gone is remembered, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1000;

/// Devices of a graph that have gone and are remembered; the one that went first is forgotten.
const GONE: usize = 64;

/// Graphs that are remembered for such devices alone.
const GRAPHS: usize = 4_096;

/// A device: one socket.
#[derive(Debug)]
pub(crate) struct Device {
    /// Whose it is; none: the operator's.
    pub(crate) user_id: Option<String>,
    /// How that user is called.
    pub(crate) user: String,
    /// What kind of client it is.
    pub(crate) client: &'static str,
    /// When it came, in milliseconds.
    pub(crate) since: i64,
    seen: AtomicI64,
    last: AtomicI64,
    gone: AtomicI64,
}

impl Device {
    fn new(holder: &Holder, agent: &str, now_ms: i64) -> Self {
        let user = holder.user();
        let name = user.map(|user| {
            let names = [&user.name, &user.username, &user.email];
            names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or(&user.user_id).clone()
        });
        Self {
            user_id: user.map(|user| user.user_id.clone()),
            user: name.unwrap_or_else(|| "operator".into()),
            client: family(agent),
            since: now_ms,
            seen: AtomicI64::new(0),
            last: AtomicI64::new(now_ms),
            gone: AtomicI64::new(0),
        }
    }

    /// It was told this counter, or told us.
    pub(crate) fn saw(&self, t: i64, now_ms: i64) {
        self.seen.fetch_max(t, Ordering::Relaxed);
        self.last.store(now_ms, Ordering::Relaxed);
    }

    /// It said something.
    pub(crate) fn spoke(&self, now_ms: i64) {
        self.last.store(now_ms, Ordering::Relaxed);
    }

    /// The highest counter that it has seen.
    pub(crate) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// When it was heard of last, in milliseconds.
    pub(crate) fn last(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether its socket is open.
    pub(crate) fn is_connected(&self) -> bool {
        self.gone.load(Ordering::Relaxed) == 0
    }

    fn is_same(&self, other: &Self) -> bool {
        self.user_id == other.user_id && self.client == other.client
    }
}

/// A device, for as long as its socket is open.
#[derive(Debug)]
pub(crate) struct Present(Arc<Device>);

impl std::ops::Deref for Present {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let now = crate::host::now_ms();
        self.0.last.store(now, Ordering::Relaxed);
        self.0.gone.store(now, Ordering::Relaxed);
    }
}

/// The devices of all graphs, by the names of the graphs' folders.
#[derive(Debug, Default)]
pub(crate) struct Devices(Mutex<keyed::Map<String, Vec<Arc<Device>>>>);

impl Devices {
    fn all(&self) -> MutexGuard<'_, keyed::Map<String, Vec<Arc<Device>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device comes. Whoever comes again takes the place of one of the same kind that has gone.
    pub(crate) fn enter(&self, folder: &str, holder: &Holder, agent: &str, now_ms: i64) -> Present {
        let device = Arc::new(Device::new(holder, agent, now_ms));
        let mut all = self.all();
        if !all.contains_key(folder) && all.len() >= GRAPHS {
            all.retain(|_, devices| devices.iter().any(|device| device.is_connected()));
        }
        let devices = all.entry(folder.to_owned()).or_default();
        devices.retain(|device| {
            let gone = device.gone.load(Ordering::Relaxed);
            gone == 0 || now_ms.saturating_sub(gone) < REMEMBERED_MS
        });
        if let Some(before) = devices.iter().position(|it| !it.is_connected() && it.is_same(&device)) {
            devices.remove(before);
        }
        while devices.iter().filter(|device| !device.is_connected()).count() >= GONE {
            let gone = devices.iter().enumerate().filter(|(_, device)| !device.is_connected());
            let Some((first, _)) = gone.min_by_key(|(_, device)| device.gone.load(Ordering::Relaxed)) else { break };
            devices.remove(first);
        }
        // Open ones are as many as there may be sockets of a graph.
        devices.push(Arc::clone(&device));
        Present(device)
    }

    /// The devices of a graph: those that are connected first, then those that went last.
    pub(crate) fn of(&self, folder: &str, now_ms: i64) -> Vec<Arc<Device>> {
        let mut found = self.all().get(folder).cloned().unwrap_or_default();
        found.retain(|device| device.is_connected() || now_ms.saturating_sub(device.last()) < REMEMBERED_MS);
        found.sort_by_key(|device| (!device.is_connected(), std::cmp::Reverse(device.last())));
        found
    }
}

/// The family of a client by what it says of itself; what it says goes nowhere else.
fn family(agent: &str) -> &'static str {
    // The first that fits: browsers name others beside themselves.
    const FAMILIES: [(&str, &str); 14] = [
        ("Logseq", "Logseq desktop"),
        ("Electron", "Logseq desktop"),
        ("Android", "Android"),
        ("okhttp", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("CFNetwork", "iOS"),
        ("Edg", "Edge"),
        ("OPR", "Opera"),
        ("Firefox", "Firefox"),
        ("Chrom", "Chrome"),
        ("Safari", "Safari"),
        ("Bun", "script"),
        ("node", "script"),
    ];
    FAMILIES.iter().find(|(mark, _)| agent.contains(mark)).map_or("other", |(_, family)| family)
}

#[cfg(test)]
mod tests {
    use protocol::PresenceUser;

    use super::*;

    fn holder(id: &str) -> Holder {
        Holder::User(PresenceUser::new(id))
    }

    #[test]
    fn a_device_is_known_while_it_is_there_and_for_a_day() {
        let devices = Devices::default();
        let now = crate::host::now_ms();
        let ann = devices.enter("g", &holder("ann"), "Mozilla/5.0 Firefox/130", now);
        ann.saw(7, now);
        ann.saw(5, now);
        let told = devices.of("g", now);
        assert_eq!((told[0].seen(), told[0].client, told[0].is_connected()), (7, "Firefox", true));
        drop(ann);
        let told = devices.of("g", now);
        assert!(!told[0].is_connected() && told[0].seen() == 7);
        assert!(devices.of("g", now + REMEMBERED_MS + 60_000).is_empty());
        let _again = devices.enter("g", &holder("ann"), "Mozilla/5.0 Firefox/131", now);
        assert_eq!(devices.of("g", now).len(), 1, "whoever comes again is one device");
        let _other = devices.enter("g", &holder("ann"), "Logseq/1 Chrome/120 Electron/30", now);
        assert_eq!(devices.of("g", now).len(), 2);
        assert!(devices.of("h", now).is_empty());
    }

    #[test]
    fn those_that_have_gone_are_bounded() {
        let devices = Devices::default();
        let now = crate::host::now_ms();
        for n in 0..3 * GONE {
            drop(devices.enter("g", &holder(&n.to_string()), "", now));
        }
        assert!(devices.of("g", now).len() <= GONE + 1);
        for n in 0..GRAPHS + 10 {
            drop(devices.enter(&n.to_string(), &holder("a"), "", now));
        }
        assert!(devices.all().len() <= GRAPHS);
    }
}
