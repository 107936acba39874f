//! The nearest name to one that nobody knows.

/// How far a name may be from what was meant, in changed, added and left out characters.
const FAR: usize = 3;

/// Characters of a name that are compared: the work is their square.
const LONGEST: usize = 64;

/// The nearest of these names, if one is near.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().take(LONGEST).collect();
    let with_distance = names.map(|other| (distance(&name, other), other));
    with_distance.filter(|(distance, _)| *distance <= FAR).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Characters to change, add, leave out or swap with their neighbour.
fn distance(name: &[char], other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
    for (row, letter) in name.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, candidate) in other.iter().enumerate() {
            let changed = at(&last, column) + usize::from(letter != candidate);
            let mut least = changed.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && name.get(row - 1) == Some(candidate) && other.get(column - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before_last, column - 1) + 1);
            }
            current.push(least);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    at(&last, other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant() {
        let names = ["DB_SYNC_PORT", "DB_SYNC_BIND", "DB_SYNC_BASE_URL", "DB_SYNC_BASE_URLS"];
        for (name, expected) in [
            ("DB_SYNC_PROT", Some("DB_SYNC_PORT")),
            ("DB_SYNC_PORTS", Some("DB_SYNC_PORT")),
            ("db_sync_bind", Some("DB_SYNC_BIND")),
            ("DB_SYNC_BASEURL", Some("DB_SYNC_BASE_URL")),
            ("DB_SYNC_SOMETHING_ELSE", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names.into_iter()), expected, "{name}");
        }
    }
}
