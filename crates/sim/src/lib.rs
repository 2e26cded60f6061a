//! Many midip2p nodes on false time and a bad network, from one seed.
//!
//! [`world::World`] drives real [`Node`](midip2p_proto::node::Node)s: it is their sockets, their MIDI
//! drivers and their clocks. Time leaps from event to event. Everything random comes from one seed, so
//! a run that fails can be run again; [`seeds`] says which seeds a scenario is run with.
//!
//! ```text
//! scenario ▸ World ┬ clock.rs    each node's own time, wrong and drifting
//!                  ├ network/    what becomes of a datagram and of the bytes of a stream
//!                  ├ host.rs     one machine: its node, ports, streams
//!                  └ checkers.rs every message that is played is held against what was sent
//! ```

pub mod clock;
pub mod network;

pub mod host;
pub mod world;

pub mod checkers;
pub mod device;

pub mod chaos;

pub mod measure;
pub mod scenario;
pub mod seeds;
pub mod table;
pub mod traffic;
