//! The bulk task: runs `proto::data::bulk::lane` where the tunnels are. SysEx from local sources goes
//! into fragments for the tunnels, fragments from the tunnels into whole messages for playout.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use midip2p_proto::bridge::Endpoint;
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::data::bulk::Delivery;
use midip2p_proto::data::bulk::lane::Lanes;
use midip2p_proto::data::counters::PortCounters;
use midip2p_proto::id::LinkNo;
use midip2p_proto::wire::{BulkAck, Message};
use tokio::sync::{Notify, mpsc};

use crate::realtime::{BulkHandle, Carried};
use crate::stages::host_wake::HostWake;
use crate::tunnels::{OwnedFragment, Tunnel};

/// Inputs that may wait; then the connections wait, and so do their peers.
pub const INBOX: usize = 256;

/// Whole messages that wait for the real-time thread before the inbox is left to wait.
const WAITING: usize = 64;

/// What the bulk task is told.
pub enum BulkInput {
    /// A connection is a link now.
    Linked(ConnId, LinkNo, Tunnel),
    /// A link is gone.
    Unlinked(LinkNo),
    /// A fragment came.
    Fragment(ConnId, OwnedFragment),
    /// A datagram came by the stream.
    Datagram(ConnId, Vec<u8>),
    /// An acknowledgement came.
    Ack(ConnId, BulkAck),
    /// The plane is done with a message; whether it was played as a whole.
    Played(Endpoint, u32, bool),
}

/// The task's state.
pub struct Bulk {
    handle: BulkHandle,
    lanes: Lanes,
    links: BTreeMap<LinkNo, (ConnId, Tunnel)>,
    /// Whole messages for which the real-time thread had no room.
    waiting: VecDeque<(LinkNo, Delivery)>,
}

impl Bulk {
    /// A task that has nothing to do yet.
    #[must_use]
    pub fn new(handle: BulkHandle, ports: Arc<[PortCounters]>) -> Self {
        let lanes = Lanes::new(ports);
        Self { handle, lanes, links: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Runs until the inbox is closed.
    pub async fn run(
        mut self,
        mut inbox: mpsc::Receiver<BulkInput>,
        host: HostWake,
        drained: Arc<Notify>,
    ) {
        loop {
            let (woken, left) = (host.next(), drained.notified());
            tokio::pin!(woken, left);
            // Registered before the rings are looked at: a wake-up in between is not missed.
            woken.as_mut().enable();
            left.as_mut().enable();
            self.turn();
            tokio::select! {
                input = inbox.recv(), if self.waiting.len() < WAITING => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                () = woken => {}
                () = left => {}
            }
        }
    }

    /// Moves what can be moved.
    fn turn(&mut self) {
        while let Ok(piece) = self.handle.pieces.pop() {
            self.lanes.piece(piece);
        }
        while self.waiting.len() < WAITING
            && let Some(message) = self.lanes.next_local()
        {
            self.waiting.push_back((LinkNo::LOCAL, message));
        }
        for (link, (_, tunnel)) in &self.links {
            while let Ok(permit) = tunnel.messages.try_reserve() {
                let Some(ack) = self.lanes.next_ack(*link) else { break };
                permit.send(Message::BulkAck(ack));
            }
            while let Ok(permit) = tunnel.fragments.try_reserve() {
                let mut fragment = None;
                self.lanes.next_fragment(*link, |f| fragment = Some(OwnedFragment::of(f)));
                let Some(fragment) = fragment else { break };
                permit.send(fragment);
            }
        }
        while let Ok(mut datagram) = self.handle.to_carry.pop() {
            if let Some((_, tunnel)) = self.links.get(&datagram.link) {
                // One that finds no room is as good as lost on the way, and is repeated as such.
                let _ = tunnel.datagrams.try_send(datagram.bytes().to_vec());
            }
        }
        let mut moved = false;
        while let Some(delivery) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(delivery)) = self.handle.deliveries.push(delivery) {
                self.waiting.push_front(delivery);
                break;
            }
            moved = true;
        }
        if moved {
            self.handle.wake.set();
        }
    }

    fn take(&mut self, input: BulkInput) {
        match input {
            BulkInput::Linked(conn, link, tunnel) => {
                self.lanes.linked(link);
                self.links.insert(link, (conn, tunnel));
            }
            BulkInput::Unlinked(link) => {
                self.lanes.unlinked(link);
                self.links.remove(&link);
            }
            BulkInput::Fragment(conn, fragment) => {
                if let Some(link) = self.link_of(conn)
                    && let Some(message) = self.lanes.fragment(link, &fragment.as_fragment())
                {
                    self.waiting.push_back((link, message));
                }
            }
            BulkInput::Datagram(conn, bytes) => {
                if let Some(link) = self.link_of(conn)
                    && let Some(carried) = Carried::of(link, &bytes)
                    && self.handle.carried.push(carried).is_ok()
                {
                    self.handle.wake.set();
                }
            }
            BulkInput::Ack(conn, ack) => {
                if let Some(link) = self.link_of(conn) {
                    self.lanes.ack(link, &ack);
                }
            }
            BulkInput::Played(source, number, whole) => self.lanes.played(source, number, whole),
        }
    }

    fn link_of(&self, conn: ConnId) -> Option<LinkNo> {
        self.links.iter().find(|(_, (c, _))| *c == conn).map(|(link, _)| *link)
    }
}
