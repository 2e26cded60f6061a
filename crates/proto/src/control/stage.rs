//! The contract that every machine of the control plane keeps.
//!
//! A stage owns its state. It is told one thing, then asked what to do until it has nothing more to
//! say; then told the next. It never calls another stage, never reads a clock, never waits:
//!
//! ```text
//! loop {
//!     input ▸ stage.handle(now, input)
//!     while let Some(action) = stage.poll() { carry it out }
//!     wait for the next input, at most until stage.wake_at()
//! }
//! ```
//!
//! Whoever runs a stage gives it an inbox of stated length, says what happens when it is full, and
//! counts.

use crate::time::LocalTime;

/// A machine of the control plane.
pub trait Stage {
    /// What it is told.
    type Input<'a>;
    /// What it wants done.
    type Action;

    /// Takes one input. Whatever it holds, this neither fails nor panics.
    fn handle(&mut self, now: LocalTime, input: Self::Input<'_>);

    /// The next thing to be done; `None` when there is nothing more.
    fn poll(&mut self) -> Option<Self::Action>;

    /// When the stage wants to be called with "time passed".
    fn wake_at(&self) -> LocalTime;
}
