//! What the bulk task makes of what comes before it knows whose it is.

use midip2p_proto::id::PortId;
use midip2p_proto::wire::{BulkState, FragmentFlags, Message};
use rtrb::RingBuffer;

use super::*;
use crate::os::wake::Signal;
use crate::stages::control::ControlInput;
use crate::stages::inbox::{Policy, inbox};
use crate::tunnels::{Inboxes, spawn};

/// A task, and what is on the other side of its rings.
struct Bench {
    bulk: Bulk,
    deliveries: rtrb::Consumer<(LinkNo, Came)>,
    inboxes: Inboxes,
    _control: Inbox<ControlInput>,
    _came: Inbox<BulkInput>,
}

impl Bench {
    fn new() -> Self {
        let (deliveries, delivered) = RingBuffer::new(256);
        let (pieces, to_carry) = (RingBuffer::new(1).1, RingBuffer::new(1).1);
        let carried = RingBuffer::new(1).0;
        let wake = Signal::new().unwrap();
        let handle = BulkHandle { deliveries, pieces, to_carry, carried, wake };
        let (news, _) = broadcast::channel(1);
        let told = Told {
            news,
            counters: Arc::default(),
            view: Arc::default(),
            events: Events::default(),
        };
        let (control, said) = inbox("test", Policy::Wait, 64);
        let (bulk, came) = inbox("test", Policy::Wait, 64);
        let (drained, counters) = (Arc::default(), Arc::default());
        let inboxes = Inboxes { control, bulk, drained, counters };
        let bulk = Bulk::new(handle, Arc::from([]), told);
        Self { bulk, deliveries: delivered, inboxes, _control: said, _came: came }
    }

    fn fragment(&mut self, conn: u64, number: u32) {
        let fragment = OwnedFragment {
            from: PortId(1),
            to: PortId(2),
            number,
            after: 0,
            index: 0,
            flags: FragmentFlags { last: true, ..FragmentFlags::default() },
            lane: 1,
            data: [0x3002_0102_u32, 0].iter().flat_map(|w| w.to_be_bytes()).collect(),
        };
        self.bulk.take(BulkInput::Came(ConnId(conn), vec![FromPeer::Fragment(fragment)]));
    }

    fn link(&mut self, conn: u64) {
        let stream = Box::new(tokio::io::duplex(64).0);
        let (tunnel, _) = spawn(ConnId(conn), stream, self.inboxes.clone());
        let peer = (NodeId([1; 32]), BootId(1));
        self.bulk.take(BulkInput::Linked(ConnId(conn), LinkNo(1), peer, tunnel));
    }

    /// The numbers of the messages that came whole since.
    fn whole(&mut self) -> Vec<u32> {
        self.bulk.turn();
        let next = || match self.deliveries.pop().ok()? {
            (LinkNo(1), Came::Whole(delivery)) => Some(delivery.number),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }
}

#[tokio::test]
async fn what_comes_before_the_link_is_known_is_taken_with_it() {
    let mut bench = Bench::new();
    (1..=3).for_each(|number| bench.fragment(1, number));
    let query = BulkQuery { from: PortId(1), number: 2, lane: 1 };
    bench.bulk.take(BulkInput::Came(ConnId(1), vec![FromPeer::Query(query)]));
    assert_eq!(bench.whole(), [0; 0]);
    bench.link(1);
    let mut said = Vec::new();
    while let Some(Message::BulkAck(ack)) = bench.bulk.lanes.next_word(LinkNo(1)) {
        said.push((ack.number, ack.state));
    }
    let here = BulkState::Reassembled;
    assert_eq!(said, [(1, here), (2, here), (3, here), (2, here)]);
    bench.fragment(1, 4);
    assert_eq!(bench.whole(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_came_by_a_connection_that_is_over_is_forgotten() {
    let mut bench = Bench::new();
    bench.fragment(1, 1);
    bench.bulk.take(BulkInput::Closed(ConnId(1)));
    bench.link(1);
    assert_eq!(bench.whole(), [0; 0]);
    // Another connection for the same link: what still comes by the one before is nobody's.
    bench.link(2);
    bench.fragment(1, 1);
    bench.link(1);
    assert_eq!(bench.whole(), [0; 0]);
    bench.bulk.take(BulkInput::Unlinked(LinkNo(1)));
    bench.fragment(1, 1);
    bench.link(3);
    assert_eq!(bench.whole(), [0; 0]);
    bench.fragment(3, 1);
    assert_eq!(bench.whole(), [1]);
}
