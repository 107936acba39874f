//! Distinct members and keys, in bounded time.

use crate::digest::{Digests, Index, scannable};
use crate::equality::same_key;
use crate::value::Value;

/// Drops members after `start` that are equal to an earlier one.
pub(crate) fn retain_distinct(items: &mut Vec<Value>, start: usize, digests: &mut Digests) {
    let doubles = doubles(items.get(start..).unwrap_or_default(), |item| item, digests);
    remove(items, start, &doubles);
}

/// Drops entries after `start` whose key is equal to that of an earlier one, which receives their value: the last value
/// wins, at the place of the first (datascript.md 2.4).
pub(crate) fn retain_distinct_keys(entries: &mut Vec<(Value, Value)>, start: usize, digests: &mut Digests) {
    let doubles = doubles(entries.get(start..).unwrap_or_default(), |(key, _)| key, digests);
    for &(first, double) in &doubles {
        let last = entries.get_mut(start + double).map(|(_, value)| std::mem::take(value));
        if let (Some(last), Some((_, value))) = (last, entries.get_mut(start + first)) {
            *value = last;
        }
    }
    remove(entries, start, &doubles);
}

fn remove<T>(entries: &mut Vec<T>, start: usize, doubles: &[(usize, usize)]) {
    if doubles.is_empty() {
        return;
    }
    let mut position = 0;
    let mut doubles = doubles.iter().map(|&(_, double)| start + double).peekable();
    entries.retain(|_| {
        let double = doubles.next_if_eq(&position).is_some();
        position += 1;
        !double
    });
}

/// Each entry that has an equal key before it: the place of the first such, and its own; ascending by the latter.
fn doubles<T>(entries: &[T], key: fn(&T) -> &Value, digests: &mut Digests) -> Vec<(usize, usize)> {
    let mut doubles = Vec::new();
    if entries.len() < 2 {
        return doubles;
    }
    if scannable(entries, key) {
        for (place, entry) in entries.iter().enumerate() {
            if let Some(first) = entries.iter().take(place).position(|earlier| same_key(key(earlier), key(entry))) {
                doubles.push((first, place));
            }
        }
        return doubles;
    }
    let index = Index::new(entries, key, digests);
    for run in index.places.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        // Equal hashes nearly always mean equal keys, so that there is one entry here.
        let mut firsts: Vec<(usize, &T)> = Vec::new();
        for &(_, place) in run {
            let Some(entry) = entries.get(place) else { continue };
            match firsts.iter().find(|(_, first)| same_key(key(first), key(entry))) {
                Some(&(first, _)) => doubles.push((first, place)),
                None => firsts.push((place, entry)),
            }
        }
    }
    doubles.sort_unstable_by_key(|&(_, double)| double);
    doubles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::LARGE;
    use crate::{Limits, Reader, read_str};

    #[test]
    fn equal_keys_have_one_hash() {
        for (a, b) in [
            ("[\"~#set\",[1,[2]]]", "[\"~#set\",[[\"~#list\",[2]],1]]"),
            ("[\"^ \",\"~:a\",1,\"~:b\",2]", "[\"^ \",\"~:b\",2,\"~:a\",1]"),
            ("[\"~zNaN\"]", "[\"~zNaN\"]"),
        ] {
            let (a, b) = (read_str(a).unwrap(), read_str(b).unwrap());
            assert!(same_key(&a, &b));
            assert_eq!(Digests::default().digest(&a), Digests::default().digest(&b));
        }
    }

    /// Sets within sets, each with a member beside the next: every level has to know whether its members are distinct.
    #[test]
    fn nested_collections_are_looked_at_once() {
        for (open, close) in [
            ("[\"~#set\",[0,", "]]"),
            ("[\"~#set\",[[1],[2,", "]]]"),
            ("[\"~#cmap\",[[0],1,", ",1]]"),
            ("[\"~#set\",[0,[\"~#set\",[", "]]]]"),
            ("[\"~#set\",[0,[\"^ \",\"~:a\",", "]]]"),
            ("[\"~#set\",[0,[\"~#x\",", "]]]"),
        ] {
            let members: Vec<String> = (0..2000).map(|number: u32| number.to_string()).collect();
            let visited = |depth: usize| {
                let text = format!("{}[{}]{}", open.repeat(depth), members.join(","), close.repeat(depth));
                let mut reader = Reader::with_limits(&text, Limits::STORED);
                let value = reader.read_value().unwrap();
                (value, reader.digests.visited)
            };
            let ((_, few), (value, many)) = (visited(4), visited(64));
            assert!(few >= 2000 && many < few + 64 * 2 * (LARGE + 16), "{open}: {few} and {many}");
            // Comparing it with its equal looks at both once.
            let mut digests = Some(Digests::default());
            assert!(crate::equality::equal(&value, &visited(64).0, |a, b| a.total_cmp(&b).is_eq(), &mut digests));
            assert!(digests.unwrap().visited < 3 * many, "{open}");
        }
    }
}
