//! Random histories of everything around a bridge, with fixed seeds: rows change; logs are replaced; the service is away, slow,
//! full, or answers garbage; connections lead elsewhere; observers come, fail and fall behind; and the process dies between any
//! two of its steps.
//!
//! Whatever happens: each change that was committed after an observer had joined is told to it, once, in order, or lies within a
//! gap that is told; and when all is well again everything arrives. Where gaps are told as differences of rows, whoever goes by what it was
//! told has the rows of the table in the end.
//!
//! `PG_SYNC_SEEDS` is how many, from `PG_SYNC_FIRST_SEED` on.

mod client;
mod service;
mod world;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn every_history_is_told_whole() {
    let first = number("PG_SYNC_FIRST_SEED", 0);
    let mut seen = world::Seen::default();
    for seed in first..first + number("PG_SYNC_SEEDS", 300) {
        let told = std::panic::catch_unwind(|| world::play(seed));
        seen.add(&told.unwrap_or_else(|panic| {
            eprintln!("PG_SYNC_FIRST_SEED={seed} PG_SYNC_SEEDS=1 plays this history again");
            std::panic::resume_unwind(panic)
        }));
    }
    eprintln!("{seen:?}");
    // The histories still hold what they are for.
    if number("PG_SYNC_SEEDS", 300) >= 300 {
        seen.assert_rich();
    }
}

/// `SplitMix64`: numbers that depend on nothing but the seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}
