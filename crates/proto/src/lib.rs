//! The sans-IO core of midip2p.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod bridge;
pub mod config;
pub mod data;
pub mod id;
pub mod seal;
pub mod seq;
pub mod time;
pub mod wire;

pub use midip2p_midi as midi;
