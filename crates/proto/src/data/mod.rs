//! The path of a note, in the order it travels.
//!
//! ```text
//! MIDI in ▸ classify ┬ realtime ▸ link ▸ realtime::sender + history ▸ datagram
//!                    └ bulk     ▸ pieces ▸ bulk::sender ▸ frames
//! MIDI out ◂ output ◂ playout ┬ realtime::receiver ◂ datagram
//!                             └ bulk::receiver     ◂ frames
//! ```
//!
//! [`plane::Plane`] joins all of it but the bulk sender and receiver, which run where the tunnels are.

pub mod bulk;
pub mod classify;
pub mod clock_map;
pub mod counters;
pub mod echo;
pub mod filter;
pub mod link;
pub mod link_set;
pub mod output;
pub mod outputs;
mod pace;
pub mod peer_clock;
pub mod plane;
pub mod playout;
pub mod realtime;
pub mod routes;
mod schedule;
pub mod state;
pub mod taps;
mod ticks;
