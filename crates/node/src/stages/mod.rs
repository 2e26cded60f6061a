//! The control side of a node: stages that share nothing but bounded inboxes.
//!
//! Each has one worker that owns its state, an [`inbox`] with a stated policy, [`counters`], and a [`supervisor`] that
//! catches its panics. `ARCHITECTURE.md` has the table of them.

pub mod control;
pub mod counters;
pub mod discovery;
pub mod host_wake;
pub mod inbox;
pub mod listening;
mod notes;
pub mod notification;
pub mod opening;
pub mod persistence;
pub mod places;
pub mod ports;
pub mod supervisor;
pub mod taking;
