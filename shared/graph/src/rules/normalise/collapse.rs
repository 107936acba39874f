//! What is left of a transaction's datoms once those that undo each other are taken together (sync.md 11.8 step 1).

use datascript::Datom;

use crate::rules::value_set::Key;

/// Up to so many datoms are compared pairwise, which needs no memory.
const PAIRWISE: usize = 16;

/// Of datoms with the same entity, attribute, value and transaction the last one counts, in the place of the first. Where
/// numbers of several transactions meet, one fact may come under two of them: then in its own place, so that what was
/// decided last comes last.
pub(super) fn collapse(tx_data: &[Datom]) -> Vec<&Datom> {
    // A fact comes twice only if it was retracted in between.
    if tx_data.iter().all(|datom| datom.added) {
        return tx_data.iter().collect();
    }
    if tx_data.windows(2).any(|pair| matches!(pair, [a, b] if a.tx != b.tx)) {
        let mut datoms = first_of(tx_data.iter().rev(), |_, _| {});
        datoms.reverse();
        return datoms;
    }
    first_of(tx_data.iter(), |kept, datom| *kept = datom)
}

/// The first of equal facts; `again` is told of each further one.
fn first_of<'a>(
    datoms: impl ExactSizeIterator<Item = &'a Datom>,
    again: impl Fn(&mut &'a Datom, &'a Datom),
) -> Vec<&'a Datom> {
    let mut kept: Vec<&Datom> = Vec::with_capacity(datoms.len());
    if datoms.len() <= PAIRWISE {
        for datom in datoms {
            match kept.iter_mut().find(|earlier| FactKey(earlier) == FactKey(datom)) {
                Some(earlier) => again(earlier, datom),
                None => kept.push(datom),
            }
        }
        return kept;
    }
    let mut places: keyed::Map<FactKey<'_>, usize> = keyed::Map::default();
    for datom in datoms {
        let place = *places.entry(FactKey(datom)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => again(earlier, datom),
            None => kept.push(datom),
        }
    }
    kept
}

/// A datom by entity, attribute, value and transaction.
struct FactKey<'a>(&'a Datom);

impl PartialEq for FactKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0, other.0);
        (a.e, a.a, a.tx) == (b.e, b.a, b.tx) && Key(&a.v) == Key(&b.v)
    }
}

impl Eq for FactKey<'_> {}

impl std::hash::Hash for FactKey<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.0.e, self.0.a, self.0.tx).hash(state);
        Key(&self.0.v).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use datascript::Value;

    use super::*;
    use crate::rules::attrs;

    #[test]
    fn only_the_last_of_equal_facts_counts() {
        let datom = |v: i64, added| Datom { added, ..Datom::new(1, attrs::BLOCK_ORDER, Value::Int(v), 5) };
        let collapsed = |datoms: &[Datom]| -> Vec<(Option<i64>, bool)> {
            collapse(datoms).into_iter().map(|datom| (datom.v.as_int(), datom.added)).collect()
        };
        assert_eq!(collapsed(&[datom(1, true), datom(2, true)]), [(Some(1), true), (Some(2), true)]);
        assert_eq!(
            collapsed(&[datom(1, true), datom(2, true), datom(1, false), datom(2, false), datom(1, true)]),
            [(Some(1), true), (Some(2), false)]
        );
        let many: Vec<Datom> = (0..40).map(|i| datom(i % 20, i >= 20)).collect();
        assert_eq!(collapsed(&many), (0..20).map(|i| (Some(i), true)).collect::<Vec<_>>());
        let other = |v, added| Datom { tx: 6, ..datom(v, added) };
        assert_eq!(
            collapsed(&[datom(1, true), other(1, false), other(2, true), other(2, false), datom(1, true)]),
            [(Some(1), false), (Some(2), false), (Some(1), true)],
            "one fact under two numbers"
        );
    }
}
