//! Coding-agent sessions (agents.md): what they are made of, without I/O and without a platform.

pub mod connect;
pub mod sse;
pub mod acp;
pub mod event;
pub mod legacy;
pub mod command;
pub mod github_app;
pub mod publish;
pub mod repository;
