//! App ports that are asked for. One that nobody waits for any more is closed again, whenever that was: before it is
//! open, while it settles, or between that and the moment in which its program takes it.

use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::Direction;
use midip2p_proto::id::PortId;
use tokio::sync::oneshot;

use super::control::ControlInput;
use super::inbox::Sender;

/// A program's wish for an app port.
pub struct AppRequest {
    /// For people.
    pub name: String,
    /// Which way MIDI flows.
    pub direction: Direction,
    /// Whether peers may know of it.
    pub exported: bool,
    /// What it is to be connected to.
    pub wishes: Vec<Wish>,
    /// The port; `None` when there is no room.
    pub opened: oneshot::Sender<Option<OpenPort>>,
    /// All peers know of it.
    pub ready: oneshot::Sender<()>,
}

/// A port that is open, and closed again when this is dropped.
pub struct OpenPort {
    port: PortId,
    /// Who closes it; `None` once it is kept.
    control: Option<Sender<ControlInput>>,
}

impl OpenPort {
    /// One that the control stage has just opened.
    #[must_use]
    pub const fn new(port: PortId, control: Sender<ControlInput>) -> Self {
        Self { port, control: Some(control) }
    }

    /// Leaves it open: whoever calls this closes it.
    #[must_use]
    pub fn keep(mut self) -> PortId {
        self.control = None;
        self.port
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        let Some(control) = self.control.take() else { return };
        let close = ControlInput::AppClose(self.port);
        // The inbox may be full, and whoever drops this may not wait. Without a runtime the node has ended.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = control.send(close).await;
            });
        }
    }
}

impl core::fmt::Debug for OpenPort {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("OpenPort").field(&self.port).finish()
    }
}
