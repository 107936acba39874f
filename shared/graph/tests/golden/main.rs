//! The reference's recorded results for this crate, as the environment variable `GOLDEN_DIR` or the repository has them.

mod checksum;
mod pipeline;
mod sanitize;
mod support;
mod vectors;
