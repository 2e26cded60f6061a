//! midip2p: MIDI between machines as if they were one studio.
//!
//! This is the I/O shell around the sans-IO core ([`midip2p_proto`]): sockets, threads, MIDI devices,
//! the HTTP interface and the command line. It decides nothing about the protocol.
// lab/tests/70-rtsan.sh builds it so: what runs on the real-time thread is watched while it runs.
#![cfg_attr(midip2p_rtsan, feature(sanitize))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod node;
pub mod options;
pub mod smf;

pub mod ports;
pub mod transport;

pub mod bulk;
pub mod crypto;
pub mod realtime;
pub mod stages;
pub mod tunnels;

pub mod connection;
pub mod events;
pub mod http;
pub mod metrics;
pub mod routing;
pub mod session;
pub mod view;

pub mod cli;

pub mod os;
