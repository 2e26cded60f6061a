//! At rest a device is what its source's is: the same notes, pedals, controllers, programs, bends,
//! parameters. The strongest of all: whatever went wrong on the way and matters is seen here.

use std::collections::BTreeMap;

use super::order::Order;
use super::sent::{Class, Source};
use crate::device::{Key, State, What};

/// Compares what the device of an output shows in one group with its source's.
///
/// A note-on that was never heard may be missing: it came too late to be played.
///
/// # Errors
/// The first few differences.
pub fn compare(group: u8, far: &State, source: &Source, order: &Order) -> Result<(), String> {
    let of_group = |state: &State| -> BTreeMap<Key, u64> {
        state.values().filter(|((g, ..), _)| *g == group).collect()
    };
    let (far_all, near_all) = (of_group(far), of_group(&source.state));
    let mut wrong = Vec::new();
    for (key, near) in &near_all {
        let found = far_all.get(key);
        let differs = found != Some(near);
        if differs && matters(*key, &source.state) && !is_dropped_note(*key, found, source, order) {
            wrong.push(format!("{:?} on {} is {found:?}, not {near}", key.2, key.1));
        }
    }
    for (key, value) in &far_all {
        if !near_all.contains_key(key) && matters(*key, far) {
            wrong.push(format!("{:?} on {} is {value}, not as in the beginning", key.2, key.1));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(4);
    Err(format!("{count} values differ from those of source {group}: {}", wrong.join("; ")))
}

/// The pressure on a note that does not sound is nothing.
fn matters((group, channel, what): Key, state: &State) -> bool {
    match what {
        What::NotePressure(note) => state.value((group, channel, What::Note(note))).is_some(),
        _ => true,
    }
}

/// Whether it is a note whose last note-on was not played.
fn is_dropped_note(key: Key, found: Option<&u64>, source: &Source, order: &Order) -> bool {
    let (_, channel, what @ (What::Note(note) | What::NotePressure(note))) = key else {
        return false;
    };
    let class = Class::Value(channel, What::Note(note));
    let last = source.classes.get(&class).and_then(|all| all.last());
    let dropped = last.is_some_and(|place| !order.heard.contains_key(place));
    dropped && (found.is_none() || matches!(what, What::NotePressure(_)))
}
