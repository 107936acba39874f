//! A bounded memory for what clients make the server find out.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::Build;

/// A map that holds at most a given number of entries, each for a given time. When it is full, the entry that was not
/// used for longest makes room.
///
/// Times are milliseconds since the epoch, and come from the caller. Nothing here waits: the lock is held for the length
/// of one operation.
pub struct Cache<K, V>(Mutex<LruCache<K, Entry<V>, Build>>);

struct Entry<V> {
    value: V,
    valid_ms: Range<i64>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty cache of that capacity.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::with_hasher(capacity, Build::default())))
    }

    fn entries(&self) -> MutexGuard<'_, LruCache<K, Entry<V>, Build>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if `now_ms` lies within the time for which it was put in. Otherwise the entry goes: also where the
    /// clock went back behind the moment in which it was put in, since nothing tells its age then.
    pub fn get<Q>(&self, key: &Q, now_ms: i64) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        get(&mut self.entries(), key, now_ms)
    }

    /// Puts a value in the place of what was there. It counts from the start of `valid_ms` until just before its end.
    pub fn put(&self, key: K, value: V, valid_ms: Range<i64>) {
        self.entries().put(key, Entry { value, valid_ms });
    }

    /// Puts a value in where [`get`](Self::get) at the start of `valid_ms` gives none. True if it did. Of several callers
    /// at once, it is true for one.
    pub fn put_if_absent(&self, key: K, value: V, valid_ms: Range<i64>) -> bool {
        let mut entries = self.entries();
        let absent = get(&mut entries, &key, valid_ms.start).is_none();
        if absent {
            entries.put(key, Entry { value, valid_ms });
        }
        absent
    }

    /// Takes an entry out.
    pub fn remove<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries().pop(key);
    }

    /// Takes out what `keep` is false for. Looks at every entry, of which there are no more than the capacity.
    pub fn retain(&self, mut keep: impl FnMut(&V) -> bool) {
        self.entries().retain(|_, entry| keep(&entry.value));
    }
}

fn get<K, V, Q>(entries: &mut LruCache<K, Entry<V>, Build>, key: &Q, now_ms: i64) -> Option<V>
where
    K: Eq + Hash + Borrow<Q>,
    V: Clone,
    Q: Eq + Hash + ?Sized,
{
    let entry = entries.get(key)?;
    if entry.valid_ms.contains(&now_ms) {
        return Some(entry.value.clone());
    }
    entries.pop(key);
    None
}

impl<K, V> fmt::Debug for Cache<K, V> {
    /// Keys and values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(capacity: usize) -> Cache<String, u32> {
        Cache::new(NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn an_entry_holds_for_its_time() {
        let cache = cache(2);
        cache.put("a".to_owned(), 1, 10..20);
        assert_eq!((cache.get("a", 10), cache.get("a", 19), cache.get("b", 10)), (Some(1), Some(1), None));
        assert_eq!((cache.get("a", 20), cache.get("a", 19)), (None, None), "it went when its time was over");
        cache.put("a".to_owned(), 1, 10..20);
        assert_eq!((cache.get("a", 9), cache.get("a", 10)), (None, None), "a clock that went back proves nothing");
        cache.put("a".to_owned(), 1, 10..20);
        cache.put("a".to_owned(), 2, 15..25);
        assert_eq!(cache.get("a", 20), Some(2), "the later one counts");
    }

    #[test]
    fn the_entry_unused_for_longest_makes_room() {
        let cache = cache(2);
        cache.put("a".to_owned(), 1, 0..10);
        cache.put("b".to_owned(), 2, 0..10);
        assert_eq!(cache.get("a", 0), Some(1));
        cache.put("c".to_owned(), 3, 0..10);
        assert_eq!((cache.get("a", 0), cache.get("b", 0), cache.get("c", 0)), (Some(1), None, Some(3)));
    }

    #[test]
    fn one_caller_puts_in_what_was_absent() {
        let cache = cache(2);
        assert!(cache.put_if_absent("a".to_owned(), 1, 0..10));
        assert!(!cache.put_if_absent("a".to_owned(), 2, 5..15));
        assert_eq!(cache.get("a", 5), Some(1));
        assert!(cache.put_if_absent("a".to_owned(), 3, 10..20), "the first one's time is over");
        assert_eq!(cache.get("a", 10), Some(3));
    }

    #[test]
    fn entries_can_be_taken_out() {
        let cache = cache(3);
        for (key, value) in [("a", 1), ("b", 2), ("c", 3)] {
            cache.put(key.to_owned(), value, 0..10);
        }
        cache.remove("a");
        cache.retain(|value| *value != 2);
        assert_eq!(["a", "b", "c"].map(|key| cache.get(key, 0)), [None, None, Some(3)]);
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let cache = cache(1);
        cache.put("hidden".to_owned(), 42, 0..10);
        assert_eq!(format!("{cache:?}"), "Cache(…)");
    }
}
