//! midip2p: the I/O shell around the sans-IO core.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod os;
pub mod ports;
pub mod smf;
