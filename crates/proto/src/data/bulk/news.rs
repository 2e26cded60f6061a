//! What becomes of bulk messages, for whoever sent them.

use crate::id::{LinkNo, NodeId, PortId};

/// Something that the source of a bulk message may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The local source.
    pub from: PortId,
    /// The link that the message goes by, or the local loop.
    pub link: LinkNo,
    /// Whose link that is; `None` for the local loop, or when it is long gone.
    pub peer: Option<NodeId>,
    /// Its number on that link and source.
    pub number: u32,
    /// What is new.
    pub what: What,
}

/// How a bulk message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The peer has so much of it.
    Arrived {
        /// Words that are there.
        words: usize,
        /// Words of the whole message.
        of: usize,
    },
    /// It is over.
    Ended(End),
}

/// How a bulk message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// It was written to every port it was for.
    Done,
    /// It was cancelled here.
    Cancelled,
    /// It was not played: its port is gone, was silenced, or took not all of it.
    NotPlayed,
    /// The peer had no room for it, or did not take it for another reason.
    Refused,
    /// It is longer than can be sent, or than the peer takes.
    TooLong,
    /// Too much waits for its link already.
    NoRoom,
    /// The peer is linked, and said nothing of it, though asked three times.
    Silent,
    /// The peer was away for longer than a message is kept.
    Away,
    /// The peer stopped, or this node stops.
    Stopped,
    /// The peer restarted, or forgot: nobody knows whether it was played.
    Unknown,
}

impl End {
    /// Whether it came to where it should.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }

    /// In one word, as JSON and metrics have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::NotPlayed => "not_played",
            Self::Refused => "refused",
            Self::TooLong => "too_long",
            Self::NoRoom => "no_room",
            Self::Silent => "silent",
            Self::Away => "away",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    /// For people: what was wrong, and what to do next.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Done => "it arrived",
            Self::Cancelled => "it was cancelled",
            Self::NotPlayed => {
                "the other node could not write all of it: its port is gone or was silenced; look at its ports and send it again"
            }
            Self::Refused => "the other node did not take it; look at its log",
            Self::TooLong => "it is longer than 16 MiB of packets; send it in parts",
            Self::NoRoom => "too much waits for that node already; send it again later",
            Self::Silent => {
                "the other node is linked but answers nothing about it; look at its log, then send it again"
            }
            Self::Away => {
                "the other node was away for a minute; send it again when it is linked (`midip2p peers`)"
            }
            Self::Stopped => "the other node stopped before it had all of it",
            Self::Unknown => {
                "the other node restarted, so it is unknown whether it arrived; look at the device, and send it again if need be"
            }
        }
    }
}
