//! The only platform calls: clock, priorities, descriptors, state directories.

pub mod clock;
pub mod config;
pub mod descriptors;
pub mod host;
pub mod interfaces;
pub mod kept;
pub mod local;
pub mod memory;
pub mod priority;
mod private;
pub mod probe;
pub mod registry;
pub mod routes;
pub mod sessions;
pub mod slice;
pub mod state;
pub mod tcp;
pub mod timer;
pub mod trusted;
pub mod wake;
