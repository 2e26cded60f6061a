//! The only platform calls: clock, priorities, descriptors, state directories.

pub mod clock;
pub mod host;
