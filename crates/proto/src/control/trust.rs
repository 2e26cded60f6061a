//! Who may become a peer: whoever proves to be the node that its hello says (`docs/security.md`).

use super::discovery::Trouble;
use super::lifecycle::{Handshake, Proof};
use super::{ConnId, Control};
use crate::time::LocalTime;
use crate::wire::{ByeReason, Hello, hello};

impl Control {
    /// Whether the hello is of whom the stream proves it to be.
    pub(super) fn is_proven(
        &mut self,
        now: LocalTime,
        conn: ConnId,
        handshake: &Handshake,
        hello: &Hello,
    ) -> bool {
        let is_client = hello.features & hello::JSON_ONLY != 0;
        let (trouble, text) = match handshake.proof {
            Proof::Unneeded => return true,
            Proof::Key(node) if node == hello.node => return true,
            Proof::Key(_) => (Trouble::OtherKey, "the hello is of another node than the key"),
            Proof::None if is_client => return true,
            Proof::None => (Trouble::NoKey, "nodes prove who they are: TLS 1.3 with their own key"),
        };
        self.handshakes.remove(&conn);
        self.farewell(conn, ByeReason::ProtocolError, text);
        self.refuse(now, handshake, trouble.into());
        false
    }
}
