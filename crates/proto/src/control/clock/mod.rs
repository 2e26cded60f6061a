//! The ClockDriftArbiter: how far each clock is from ours, whose time all nodes follow, and what that makes of ours.
//!
//! Two clocks are compared by what their datagrams say of each other (`docs/clock.md` has the mathematics):
//!
//! ```text
//! datagrams ▸ Sample      what those of a tenth of a second say, each direction for itself
//!           ▸ filter      a line through the last 2, 4, … 64 s of them, by two laws of chance
//!           ▸ Drift       the line of the longest time over which the clocks ran evenly, with its bound
//!           ▸ Steering    a map from our time to theirs that is turned towards it: it neither steps nor runs backwards
//! ```

pub mod arbiter;
pub mod drift;
pub mod filter;
pub mod map;
pub mod sample;
pub mod steer;
