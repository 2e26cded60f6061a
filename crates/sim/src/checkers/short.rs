//! No note is cut short: what a node ends by itself, its source had ended before, or begun anew.
//!
//! Where a node lets go of what a source holds there is a reason: a link was lost, a port went, somebody
//! pressed panic. A scenario in which that happens does not ask.

use std::collections::BTreeMap;

use midip2p_proto::midi::{MessageType, Ump};

use super::is_made_by_nodes;
use super::sent::{Item, Source};
use crate::clock::TrueTime;

/// A note on its channel.
type Key = (u8, u8);

/// What a message does to notes.
enum Does {
    Begins(Key),
    Ends(Key),
    EndsAll(u8),
}

fn does(message: &Ump) -> Option<Does> {
    let [_, status, note, data2] = message.words()[0].to_be_bytes();
    let midi1 = match message.message_type() {
        MessageType::Midi1Voice => true,
        MessageType::Midi2Voice => false,
        _ => return None,
    };
    let channel = status & 0xF;
    match (status >> 4, note) {
        (9, _) if !midi1 || data2 > 0 => Some(Does::Begins((channel, note))),
        (8 | 9, _) => Some(Does::Ends((channel, note))),
        (0xB, 120 | 123..=127) => Some(Does::EndsAll(channel)),
        _ => None,
    }
}

/// Looks through all that an output played of the source in `group`.
///
/// # Errors
/// The first note that ended before its source let it go.
pub fn nothing_cut(group: u8, played: &[(TrueTime, Ump)], source: &Source) -> Result<(), String> {
    // Of each note that began: when the source let go of it, or began it again.
    let mut ends: Vec<(Ump, TrueTime, Option<TrueTime>)> = Vec::new();
    let mut open: BTreeMap<Key, usize> = BTreeMap::new();
    for (at, item) in &source.items {
        let Item::Message(message) = item else { continue };
        let mut let_go = |key: Key, open: &mut BTreeMap<Key, usize>| {
            if let Some(n) = open.remove(&key) {
                ends[n].2 = Some(*at);
            }
        };
        match does(message) {
            Some(Does::Ends(key)) => let_go(key, &mut open),
            Some(Does::EndsAll(channel)) => {
                let all: Vec<Key> = open.keys().copied().filter(|key| key.0 == channel).collect();
                all.into_iter().for_each(|key| let_go(key, &mut open));
            }
            Some(Does::Begins(key)) => {
                let_go(key, &mut open);
                open.insert(key, ends.len());
                ends.push((*message, *at, None));
            }
            None => {}
        }
    }
    let mut sounding: BTreeMap<Key, (Ump, TrueTime)> = BTreeMap::new();
    for (at, message) in played.iter().filter(|(_, m)| m.group() == Some(group)) {
        match does(message) {
            Some(Does::Begins(key)) => drop(sounding.insert(key, (*message, *at))),
            Some(Does::Ends(key)) if is_made_by_nodes(message) => {
                let Some((began, heard)) = sounding.remove(&key) else { continue };
                let strike = ends.iter().rev().find(|(on, sent, _)| *on == began && *sent <= heard);
                if strike.is_some_and(|(.., end)| end.is_none_or(|end| end > *at)) {
                    let (channel, note) = key;
                    return Err(format!("note {note} on {channel} was cut short"));
                }
            }
            Some(Does::Ends(key)) => drop(sounding.remove(&key)),
            Some(Does::EndsAll(channel)) => sounding.retain(|key, _| key.0 != channel),
            None => {}
        }
    }
    Ok(())
}
