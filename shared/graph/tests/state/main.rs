//! The state of a graph over a real database, driven through its public face.

mod exports;
mod frames;
mod support;
mod uploads;
