//! The control side of a node: stages that share nothing but bounded inboxes.
//!
//! | stage | inbox | when full | runs |
//! |---|---|---|---|
//! | [`control`] | 1,024 inputs | producers wait (connections, HTTP, backends) | `proto::control` |
//! | [`bulk`](crate::bulk) | 256 fragments | the connection waits, and so its peer | `proto::data::bulk` |
//! | [`ports`] | 2,048 commands | refused and said | the MIDI backends |
//! | [`discovery`] | none | | multicast DNS |

pub mod control;
pub mod counters;
pub mod discovery;
pub mod host_wake;
pub mod inbox;
pub mod listening;
mod notes;
pub mod notification;
pub mod persistence;
pub mod places;
pub mod ports;
pub mod supervisor;
pub mod taking;
