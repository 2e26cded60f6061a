//! The bulk task: SysEx from local sources into fragments for the tunnels, fragments from the tunnels
//! into whole messages for playout.

use std::collections::BTreeMap;
use std::sync::Arc;

use midip2p_proto::bridge::{BulkPiece, Endpoint};
use midip2p_proto::control::lifecycle::ConnId;
use midip2p_proto::data::bulk::Delivery;
use midip2p_proto::data::bulk::receiver::{Received, Receiver};
use midip2p_proto::data::bulk::sender::Sender;
use midip2p_proto::data::counters::PortCounters;
use midip2p_proto::id::{LinkNo, PortId};
use midip2p_proto::wire::{BulkAck, BulkState, Message};
use tokio::sync::{Notify, mpsc};

use crate::realtime::BulkHandle;
use crate::stages::host_wake::HostWake;
use crate::tunnels::{OwnedFragment, Tunnel, settles};

/// Inputs that may wait; then the connections wait, and so do their peers.
pub const INBOX: usize = 256;

/// What the bulk task is told.
pub enum BulkInput {
    /// A connection is a link now.
    Linked(ConnId, LinkNo, Tunnel),
    /// A link is gone.
    Unlinked(LinkNo),
    /// A fragment came.
    Fragment(ConnId, OwnedFragment),
    /// An acknowledgement came.
    Ack(ConnId, BulkAck),
    /// A message was played, or its outputs are gone.
    Played(Endpoint, u32),
}

struct Link {
    conn: ConnId,
    tunnel: Tunnel,
    receiver: Receiver,
    /// Messages of local sources that the peer has not acknowledged.
    unacked: Vec<(PortId, u32)>,
}

/// The task's state.
pub struct Bulk {
    handle: BulkHandle,
    sender: Sender,
    links: BTreeMap<LinkNo, Link>,
    ports: Arc<[PortCounters]>,
    /// Whole messages for which the real-time thread had no room.
    waiting: std::collections::VecDeque<(LinkNo, Delivery)>,
}

impl Bulk {
    /// A task that has nothing to do yet.
    #[must_use]
    pub fn new(handle: BulkHandle, ports: Arc<[PortCounters]>) -> Self {
        Self {
            handle,
            sender: Sender::default(),
            links: BTreeMap::new(),
            ports,
            waiting: std::collections::VecDeque::new(),
        }
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
                input = inbox.recv(), if self.waiting.len() < INBOX => match input {
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
            if let BulkPiece::Whole { from, sink, number, .. } = piece
                && sink.link != LinkNo::LOCAL
            {
                match self.links.get_mut(&sink.link) {
                    Some(link) => link.unacked.push((from, number)),
                    None => {
                        // The link went down while the message was on its way here.
                        self.settle(from);
                        continue;
                    }
                }
            }
            if let Some(message) = self.sender.piece(piece) {
                self.waiting.push_back((LinkNo::LOCAL, message));
            }
        }
        for (number, link) in &self.links {
            while let Ok(permit) = link.tunnel.fragments.try_reserve() {
                let mut fragment = None;
                if !self.sender.next_fragment(*number, |f| fragment = Some(OwnedFragment::of(f))) {
                    break;
                }
                if let Some(fragment) = fragment {
                    permit.send(fragment);
                }
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
                let (receiver, unacked) = (Receiver::default(), Vec::new());
                self.links.insert(link, Link { conn, tunnel, receiver, unacked });
            }
            BulkInput::Unlinked(link) => {
                self.sender.drop_link(link);
                if let Some(link) = self.links.remove(&link) {
                    link.unacked.iter().for_each(|(from, _)| self.settle(*from));
                }
            }
            BulkInput::Fragment(conn, fragment) => self.fragment(conn, &fragment),
            BulkInput::Ack(conn, ack) => {
                let Some(link) = self.links.values_mut().find(|l| l.conn == conn) else { return };
                let key = (ack.from, ack.number);
                if settles(&ack)
                    && let Some(at) = link.unacked.iter().position(|u| *u == key)
                {
                    link.unacked.swap_remove(at);
                    self.settle(ack.from);
                }
            }
            BulkInput::Played(source, number) => {
                if let Some(link) = self.links.get(&source.link) {
                    acknowledge(link, source.port, number, BulkState::Done);
                }
            }
        }
    }

    fn fragment(&mut self, conn: ConnId, fragment: &OwnedFragment) {
        let Some((number, link)) = self.links.iter_mut().find(|(_, l)| l.conn == conn) else {
            return;
        };
        match link.receiver.fragment(&fragment.as_fragment()) {
            Received::More => {}
            Received::Whole(message) => {
                acknowledge(link, message.from, message.number, BulkState::Reassembled);
                self.waiting.push_back((*number, message));
            }
            Received::Dropped => {
                acknowledge(link, fragment.from, fragment.number, BulkState::Refused);
            }
        }
    }

    fn settle(&self, from: PortId) {
        if let Some(port) = self.ports.get(usize::from(from.0)) {
            port.in_flight.sub(1);
        }
    }
}

/// Tells a peer how far its message got. If so many words wait for it that this finds no room, the
/// connection is stuck and about to be closed.
fn acknowledge(link: &Link, from: PortId, number: u32, state: BulkState) {
    let ack = Message::BulkAck(BulkAck { from, number, state });
    let _ = link.tunnel.messages.try_send(ack);
}
