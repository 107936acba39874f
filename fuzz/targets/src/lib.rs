//! What fuzzing checks: each target is a function over arbitrary bytes that panics when an answer is wrong, not only when
//! the code under test does.
//!
//! The runner of this crate feeds them the corpora and random mutations on the stable compiler; `fuzz/fuzz_targets` hands
//! the same functions to cargo-fuzz.
#![expect(clippy::panic, clippy::missing_panics_doc, reason = "a wrong answer is reported by panicking")]

mod agent_streams;
mod base;
mod frames;
mod hostile;
mod indexes;
mod messages;
mod mutate;
mod runner;
mod transit_text;
mod tx_data;

pub use agent_streams::agent_streams;
pub use frames::frames;
pub use messages::protocol;
pub use mutate::{Mutator, Random};
pub use runner::{Options, Summary, Until, keep_failing_inputs, run};
pub use transit_text::transit;
pub use tx_data::tx_data;

/// What an input did, as far as a target tells: inputs that do something new are worth mutating further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace(pub u64);

impl Trace {
    /// Adds a step to the trace.
    #[must_use]
    pub fn step(self, what: u64) -> Self {
        Self((self.0.rotate_left(7) ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Adds an amount, by its order of magnitude only.
    #[must_use]
    pub fn amount(self, amount: usize) -> Self {
        self.step(u64::from(usize::BITS - amount.leading_zeros()))
    }
}

/// A target and what the runner has to know of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its corpus and of its cargo-fuzz target.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]) -> Trace,
    /// Lists of texts that mean something to the code under test.
    pub dictionaries: &'static [&'static [&'static str]],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "transit", run: transit, dictionaries: &[transit_text::DICTIONARY, hostile::WORDS] },
    Target { name: "frames", run: frames, dictionaries: &[frames::DICTIONARY, hostile::WORDS] },
    Target { name: "protocol", run: protocol, dictionaries: &[messages::DICTIONARY] },
    Target { name: "tx_data", run: tx_data, dictionaries: &[tx_data::DICTIONARY, hostile::WORDS] },
    Target { name: "agent_streams", run: agent_streams, dictionaries: &[agent_streams::DICTIONARY] },
];
