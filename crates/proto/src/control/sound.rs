//! What holds between two inputs, and the way back to it when a mistake of ours has broken it.
//!
//! Routes, mirrors and subscriptions need no such way: the bus computes them from what is there.

use std::collections::BTreeSet;

use super::lifecycle::ConnId;
use super::{Action, Control};
use crate::time::LocalTime;

/// What is said of links that end so.
const WHY: &str = "a mistake in this node; it is made anew";

impl Control {
    /// Whether each connection is one thing, each node has one link, and each link a number of its own.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let conns: BTreeSet<ConnId> = self.all_conns().collect();
        let indexed = |(conn, node)| self.conns.get(node) == Some(conn);
        let living = self.links.values().chain(self.adrift.values().map(|a| &a.linked));
        let numbers: BTreeSet<_> = living.map(|linked| linked.link).collect();
        conns.len() == self.all_conns().count()
            && self.conns.len() == self.links.len()
            && self.links.iter().map(|(conn, linked)| (conn, &linked.node)).all(indexed)
            && numbers.len() == self.links.len() + self.adrift.len()
    }

    /// Ends all connections, and with them whatever is known of them. What they held is released, and they are
    /// begun again.
    pub(super) fn anew(&mut self, now: LocalTime) {
        let conns: Vec<ConnId> = self.all_conns().collect();
        for conn in conns {
            self.unlink(now, conn, false, WHY);
            self.closed(now, conn);
            self.actions.push_back(Action::Close(conn));
        }
        while let Some(node) = self.adrift.keys().next().copied() {
            self.end_adrift(now, node, false, WHY);
        }
        self.conns.clear();
        self.actions.push_back(Action::Changed);
    }

    fn all_conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        let handshakes = self.handshakes.keys().chain(self.waiting.keys());
        handshakes.chain(self.links.keys()).chain(self.clients.keys()).copied()
    }
}
