//! What `midip2p doctor` asks the system. Nothing here changes anything, needs root or waits without end.

pub mod kernel;
pub mod network;
pub mod owner;
pub mod program;
