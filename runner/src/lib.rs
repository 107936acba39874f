//! The runner: it lends a machine to the sessions of an agents worker (docs/spec/agents.md 8, docs/spec/session-mailbox.md 8).
//!
//! In transport `tunnel` it makes sure that a local sandbox-agent answers ([`sandbox_agent`]), shows it to the worker under a
//! public address ([`tunnel`]), registers and says every few seconds that it is there ([`api`], [`run`]). What it has started it
//! ends, also when it was killed itself: its next start finds what is left by a mark in the environment ([`children`]).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code"))]

pub mod api;
pub mod children;
pub mod cli;
mod daemon;
mod doctor;
pub mod failure;
mod http;
mod inspect;
mod leaving;
pub mod log;
mod logs;
mod mask;
mod program;
mod relay;
mod run;
pub mod sandbox_agent;
mod service;
pub mod settings;
pub mod tunnel;
