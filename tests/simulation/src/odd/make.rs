//! Makes a plan of a seed.

use super::items::Maker;
use super::plan::{Entry, Plan, Step};
use super::{names, told, valid};
use crate::base::Base;
use crate::rng::Rng;

/// What a graph is mostly about: small graphs of one kind find more defects than large mixed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Everything.
    Mixed,
    /// Odd values under few attributes.
    Values,
    /// Changes of the schema around facts.
    Schema,
    /// Hundreds of attribute names.
    Names,
    /// Pages, blocks and tags that nobody validates.
    Blocks,
    /// Long texts.
    Long,
    /// A graph that is validated.
    Valid,
    /// More names than a graph keeps in memory.
    Flood,
    /// Entities that lose and get names, in entries of all forms.
    Told,
}

/// Bytes of a batch, with room for a last entry: a message of 32 MiB is refused.
const BATCH_BYTES: usize = 4 << 20;

/// Entries of a graph about names.
const ENTRIES: usize = 25;

const CACHES: [usize; 3] = [4 << 10, 64 << 10, 24 << 20];

impl Flavour {
    fn random(rng: &mut Rng) -> Self {
        match rng.below(1000) {
            0 => Self::Flood,
            1..4 => Self::Long,
            4..24 => Self::Names,
            24..300 => Self::Values,
            300..560 => Self::Schema,
            560..780 => Self::Blocks,
            780..880 => Self::Valid,
            _ => Self::Mixed,
        }
    }

    /// Batches, at least and at most.
    const fn batches(self) -> (usize, usize) {
        match self {
            Self::Long | Self::Flood => (3, 8),
            Self::Names => (6, 20),
            Self::Told => (ENTRIES, ENTRIES),
            _ => (8, 60),
        }
    }
}

/// What the graph of a seed is about.
pub(crate) fn flavour(seed: u64) -> Flavour {
    Flavour::random(&mut Rng::new(seed))
}

/// The plan of a seed.
pub(crate) fn plan(seed: u64) -> Plan {
    let mut rng = Rng::new(seed);
    let flavour = Flavour::random(&mut rng);
    plan_of(flavour, rng)
}

/// The plan of a seed about entities that lose and get names: so many entries, each a batch.
pub(crate) fn told(seed: u64) -> Plan {
    plan_of(Flavour::Told, Rng::new(seed))
}

/// Numbers of entities that have names from the start; facts of entities without a name are not kept.
const NAMED: usize = 40;

fn named() -> Entry {
    let name = |e: usize| format!(r#"["~:db/add",{e},"~:block/uuid","~u{}"]"#, names::uuid(0xe000 + e));
    Entry::new((1..=NAMED).map(name).chain([name(900)]).collect())
}

fn plan_of(flavour: Flavour, mut rng: Rng) -> Plan {
    // Checking all of Logseq's own entities takes long, so most validated graphs create only the few that they need.
    let base = if flavour == Flavour::Valid && rng.percent(4) { Base::Logseq } else { Base::Empty };
    let cache = rng.pick(&CACHES).copied().unwrap_or(64 << 10);
    let mut maker = Maker::new(rng, flavour);
    let mut steps = Vec::new();
    if flavour == Flavour::Valid && base == Base::Empty {
        steps.push(Step::Batch(vec![valid::initial()]));
    } else if flavour == Flavour::Told {
        steps.push(Step::Batch(vec![told::initial()]));
    } else if base == Base::Empty {
        steps.push(Step::Batch(vec![named()]));
    }
    let (least, most) = flavour.batches();
    // Most are short.
    let most = 1 + maker.rng.below((most - least).max(1));
    let room = 1 + maker.rng.below(most);
    for _ in 0..least + maker.rng.below(room) {
        steps.push(Step::Batch(batch(&mut maker)));
        match maker.rng.below(100) {
            0..10 => steps.push(Step::Reopen(maker.rng.pick(&CACHES).copied().unwrap_or(4 << 10))),
            10..13 => steps.push(Step::Upload),
            13 => steps.push(Step::Read),
            _ => {}
        }
    }
    if maker.rng.percent(50) {
        // More than the tail holds: everything is flushed.
        let items = (0..33).map(|n| format!(r#"["~:db/add",900,"~:odd/flush{n}",{n}]"#)).collect();
        steps.push(Step::Batch(vec![Entry::with_op(items, "db-migrate")]));
    }
    steps.push(Step::Read);
    Plan { base, cache, steps }
}

/// One to six entries, mostly few.
fn batch(maker: &mut Maker) -> Vec<Entry> {
    let count = if maker.flavour == Flavour::Told { 1 } else { 1 + maker.rng.below(6) * maker.rng.below(2) };
    let mut entries = Vec::new();
    let mut bytes = 0;
    for _ in 0..count {
        let entry = maker.entry();
        bytes += entry.items.iter().map(String::len).sum::<usize>();
        if bytes > BATCH_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    if maker.flavour == Flavour::Flood && maker.rng.percent(40) {
        // It fails for good reasons after it brought its names, and is tolerated: the batch goes on.
        entries.insert(entries.len() / 2, maker.flood());
    }
    entries
}
