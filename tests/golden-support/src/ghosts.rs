//! Datoms that the reference leaves behind in AVET.

use datascript::{Datom, Db, Index, Keyword, Pattern, Value};

/// Datoms that the reference has left in AVET: those retracted while their attribute was not indexed, after it had been.
/// Ours takes them out, so that they are not found when the attribute is indexed again (datascript.md 8.3).
#[derive(Debug, Default)]
pub struct Ghosts(Vec<Ghost>);

/// Attributes by name: the graph may have been opened again since, with other numbers for them.
#[derive(Debug)]
struct Ghost {
    e: u32,
    a: Keyword,
    v: Value,
    tx: u32,
}

impl Ghosts {
    /// Datoms in AVET that would become ghosts if they were retracted now.
    pub fn possible(db: &Db) -> Self {
        let datoms = db.datoms(Index::Avet, &Pattern::ALL).map(|datom| datom.expect("a datom"));
        let datoms = datoms.filter(|datom| !db.flags(datom.a).is_indexed());
        Self(
            datoms
                .map(|datom| Ghost { e: datom.e, a: db.attrs().keyword(datom.a), v: datom.v, tx: datom.tx })
                .collect(),
        )
    }

    /// Takes in those of a step's possible ghosts that are no facts any more after it.
    pub fn note(&mut self, possible: Self, after: &Db) {
        self.0.extend(possible.0.into_iter().filter(|ghost| {
            let Datom { e, a, v, tx, .. } = ghost.datom(after);
            let pattern = Pattern { tx: Some(tx), ..Pattern::eav(e, a, &v) };
            after.first(Index::Eavt, &pattern).expect("readable").is_none()
        }));
    }

    /// The datoms, as the database names attributes.
    pub(crate) fn datoms(&self, db: &Db) -> Vec<Datom> {
        self.0.iter().map(|ghost| ghost.datom(db)).collect()
    }
}

impl Ghost {
    fn datom(&self, db: &Db) -> Datom {
        Datom::new(self.e, db.attrs().intern(&self.a), self.v.clone(), self.tx)
    }
}
