//! Coding-agent sessions (agents.md): what they are made of, without I/O and without a platform.

pub mod command;
pub mod github_app;
pub mod publish;
pub mod repository;
