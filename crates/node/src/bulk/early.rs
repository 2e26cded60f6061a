//! What came by a connection before the bulk task was told which link it is. The peer may know of the link
//! first, and what it sends at once would else be lost: it would wait for a second, and ask.
//!
//! ```text
//! reader  ── fragment, fragment ─▸ ┐
//! control ──── linked ───────────▸ ┴ bulk task: both in its inbox, in any order
//! ```

use std::collections::BTreeMap;

use midip2p_proto::control::lifecycle::ConnId;

use super::FromPeer;

/// What is kept of one connection; what comes then is asked for again, as if it had been lost.
const OF_ONE: usize = 64;

/// What is kept of all connections.
const OF_ALL: usize = 4 * OF_ONE;

/// Connections of which something is known.
const CONNECTIONS: usize = 256;

enum State {
    /// It is no link yet.
    Waiting(Vec<FromPeer>),
    /// It may become one, but nobody has said yet that it is to be heard.
    Muted,
    /// It is a link, and nothing more comes by it.
    Closed,
    /// It is no link any more, though something may still come by it.
    Gone,
}

/// What came early.
#[derive(Default)]
pub(super) struct Early {
    conns: BTreeMap<ConnId, State>,
    kept: usize,
}

impl Early {
    /// Keeps what came by a connection that is no link, if it may become one, and there is room.
    pub(super) fn keep(&mut self, conn: ConnId, came: FromPeer) {
        if self.kept >= OF_ALL {
            return;
        }
        if !self.has_place(conn) {
            self.make_way();
        }
        if !self.has_place(conn) {
            return;
        }
        let state = self.conns.entry(conn).or_insert_with(|| State::Waiting(Vec::new()));
        if let State::Waiting(all) = state
            && all.len() < OF_ONE
        {
            all.push(came);
            self.kept += 1;
        }
    }

    /// Nothing that comes by the connection is kept, nor what has come; or it is again.
    pub(super) fn mute(&mut self, conn: ConnId, muted: bool) {
        let was = self.conns.remove(&conn);
        if let Some(State::Waiting(all)) = was {
            self.kept -= all.len();
        }
        if muted {
            self.make_way();
            self.conns.insert(conn, State::Muted);
        }
    }

    /// The connection is a link now: what had come by it, in order.
    pub(super) fn linked(&mut self, conn: ConnId) -> Vec<FromPeer> {
        match self.conns.remove(&conn) {
            Some(State::Waiting(all)) => {
                self.kept -= all.len();
                all
            }
            _ => Vec::new(),
        }
    }

    /// The connection is no link any more.
    pub(super) fn unlinked(&mut self, conn: ConnId) {
        if !matches!(self.conns.remove(&conn), Some(State::Closed)) {
            self.make_way();
            self.conns.insert(conn, State::Gone);
        }
    }

    /// Nothing more comes by the connection, which may be a link.
    pub(super) fn closed(&mut self, conn: ConnId, is_link: bool) {
        if let Some(State::Waiting(all)) = self.conns.remove(&conn) {
            self.kept -= all.len();
        }
        if is_link && self.has_place(conn) {
            self.conns.insert(conn, State::Closed);
        }
    }

    /// Lets the oldest of those that are gone go, where there is no place.
    fn make_way(&mut self) {
        if self.conns.len() < CONNECTIONS {
            return;
        }
        let gone = self
            .conns
            .iter()
            .find(|(_, state)| matches!(state, State::Gone | State::Closed | State::Muted));
        if let Some(conn) = gone.map(|(conn, _)| *conn) {
            self.conns.remove(&conn);
        }
    }

    fn has_place(&self, conn: ConnId) -> bool {
        self.conns.len() < CONNECTIONS || self.conns.contains_key(&conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(early: &mut Early, conn: u64) -> usize {
        early.linked(ConnId(conn)).len()
    }

    fn come(early: &mut Early, conn: u64, many: usize) {
        (0..many).for_each(|_| early.keep(ConnId(conn), FromPeer::Datagram(vec![])));
    }

    #[test]
    fn so_much_is_kept_and_no_more() {
        let mut early = Early::default();
        come(&mut early, 1, OF_ONE + 1);
        assert_eq!((kept(&mut early, 1), early.kept), (OF_ONE, 0));
        (1..=5).for_each(|conn| come(&mut early, conn, OF_ONE));
        assert_eq!([1, 4, 5].map(|conn| kept(&mut early, conn)), [OF_ONE, OF_ONE, 0]);
        early.closed(ConnId(2), false);
        early.closed(ConnId(3), false);
        assert_eq!((early.kept, early.conns.len()), (0, 0));
        (0..2_000).for_each(|conn| early.unlinked(ConnId(conn)));
        assert_eq!(early.conns.len(), CONNECTIONS);
    }

    #[test]
    fn of_who_is_not_heard_nothing_is_kept_until_it_is() {
        let mut early = Early::default();
        come(&mut early, 1, OF_ONE);
        early.mute(ConnId(1), true);
        come(&mut early, 1, OF_ONE);
        assert_eq!(early.kept, 0);
        early.mute(ConnId(1), false);
        come(&mut early, 1, 2);
        assert_eq!((kept(&mut early, 1), early.kept), (2, 0));
        for conn in 0..2_000 {
            early.mute(ConnId(conn), true);
        }
        assert_eq!(early.conns.len(), CONNECTIONS);
        (0..2_000).for_each(|conn| early.closed(ConnId(conn), false));
        assert_eq!(early.conns.len(), 0);
    }

    #[test]
    fn of_a_connection_that_was_a_link_nothing_is_kept_and_nothing_is_left() {
        let mut early = Early::default();
        early.unlinked(ConnId(1));
        come(&mut early, 1, 1);
        assert_eq!((early.kept, early.conns.len()), (0, 1));
        early.closed(ConnId(1), false);
        // The other way round.
        early.closed(ConnId(2), true);
        early.unlinked(ConnId(2));
        assert!(early.conns.is_empty());
        come(&mut early, 3, 1);
        early.closed(ConnId(3), false);
        assert_eq!((early.kept, early.conns.len()), (0, 0));
    }
}
