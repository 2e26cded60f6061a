//! The sans-IO core of midip2p: what a node decides, without the sockets, threads and clocks it needs
//! to act.
//!
//! The path of one note:
//!
//! ```text
//! node A   MIDI in ▸ parse ▸ classify ┬ realtime ▸ ring  ▸ sender + history ▸ UDP ┐
//!                                     └ bulk     ▸ queue ▸ sender, framed   ▸ TCP ┤
//! node B  MIDI out ◂ playout ┬ jitter ◂ recovery ◂ receiver ◂─────────────────────┘
//!                            └ whole SysEx       ◂ receiver ◂──────────────────────
//! beside it, joined by bridge.rs only:   ▾ peers, routes       ▴ life signs, panics
//! control  discovery ▸ lifecycle ▸ heartbeat ▸ bus
//! ```
//!
//! [`data`] is that path, [`control`] decides who is linked and which port hears which, [`wire`] is how
//! both speak to other nodes, [`bridge`] how they speak to each other. [`node`] joins them on one
//! thread, for tests, simulation and WASM. Everything is driven by hand: an input with the time, then
//! outputs until there are no more.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod id;
pub mod random;
pub mod seq;
pub mod time;

pub mod config;

pub mod pairing;
pub mod seal;
pub mod wire;

pub mod bridge;
pub mod control;
pub mod data;
pub mod node;

pub use midip2p_midi as midi;
