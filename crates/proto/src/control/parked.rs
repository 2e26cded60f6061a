//! Links that broke and whose numbers are kept: their peers may come back to what is under way on their bulk lanes
//! (`docs/protocol.md` § 6.12).

use super::{Action, Control};
use crate::bridge::ToData;
use crate::data::bulk::news::End;
use crate::id::{LinkNo, NodeId};
use crate::time::LocalTime;
use crate::wire::Hello;

impl Control {
    /// The link that a peer had before its connection broke, if it is the same start of it. If it is not,
    /// what was under way on that link is over.
    pub(super) fn kept_link(&mut self, hello: &Hello) -> Option<LinkNo> {
        let parked = self.parked.remove(&hello.node)?;
        if parked.boot == hello.boot {
            return Some(parked.link);
        }
        self.give_up(hello.node, parked.link, End::Unknown);
        None
    }

    /// The link that broke longest ago makes room for another; its number.
    pub(super) fn give_up_oldest(&mut self) -> Option<LinkNo> {
        let (node, link) =
            self.parked.iter().min_by_key(|(_, p)| p.until).map(|(node, p)| (*node, p.link))?;
        self.parked.remove(&node);
        self.give_up(node, link, End::Away);
        Some(link)
    }

    /// A link that broke, if there is one with that node, will not come back as it was.
    pub(super) fn forget_parked(&mut self, node: NodeId) {
        if let Some(parked) = self.parked.remove(&node) {
            self.give_up(node, parked.link, End::Stopped);
        }
    }

    /// A link that broke will not come back.
    fn give_up(&mut self, node: NodeId, link: LinkNo, end: End) {
        self.bus.peer_lost(node);
        self.actions.push_back(Action::Data(ToData::LinkForget { link }));
        self.actions.push_back(Action::Forgotten(link, end));
    }

    /// Gives up the links that broke too long ago.
    pub(super) fn give_up_old(&mut self, now: LocalTime) {
        while let Some((node, link)) =
            self.parked.iter().find(|(_, p)| p.until <= now).map(|(node, p)| (*node, p.link))
        {
            self.parked.remove(&node);
            self.give_up(node, link, End::Away);
        }
    }
}
