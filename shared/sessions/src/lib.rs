//! Coding-agent sessions (agents.md): what they are made of, without a platform.

pub mod access;
pub mod acp;
pub mod command;
pub mod connect;
pub mod error;
pub mod event;
pub mod follow_up;
pub mod front;
pub mod github;
pub mod github_app;
pub mod legacy;
pub mod logins;
pub mod object;
pub mod observer;
pub mod publish;
pub mod publisher;
pub mod registry;
pub mod repository;
pub mod request;
pub mod runtime;
pub mod secrets;
pub mod session;
pub mod settings;
pub mod sse;
pub mod task;
mod timestamp;
pub mod webhook;
