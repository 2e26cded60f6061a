//! Every message that an output plays, held against what the sources sent.
//!
//! Each source of a scenario plays in its own group and never sends the same message twice in a short
//! while, so a message names its source and its place. Messages that nodes make themselves (releases)
//! are told by their values, which sources do not use: note-off velocity 64, pedal 0, bend centre.

use std::collections::BTreeMap;

use midip2p_proto::midi::sysex7::{self, Part};
use midip2p_proto::midi::{MessageType, Ump};

use crate::clock::TrueTime;
use crate::device::Device;

/// What a source sends: a message, or the data bytes of a SysEx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message of one packet.
    Message(Ump),
    /// A whole SysEx.
    SysEx(Vec<u8>),
}

/// An output: which host, and its name there.
pub type Place = (usize, String);

/// All checkers and what they have seen.
#[derive(Debug, Default)]
pub struct Checkers {
    sent: BTreeMap<u8, Vec<Item>>,
    sending: BTreeMap<u8, Vec<u8>>,
    outputs: BTreeMap<Place, Output>,
    /// The first thing that was wrong.
    pub violation: Option<String>,
}

#[derive(Debug, Default)]
struct Output {
    device: Device,
    /// For each source how far it was heard, and how many of its items were.
    heard: BTreeMap<u8, (usize, usize)>,
    /// The group whose SysEx is being written, and its bytes.
    sysex: Option<(u8, Vec<u8>)>,
    log: Vec<(TrueTime, Ump)>,
}

impl Checkers {
    /// A source gave a packet to its node.
    pub fn sent(&mut self, packet: &Ump) {
        let group = packet.group().unwrap_or(0);
        let Some((part, bytes)) = sysex7::payload(packet) else {
            self.sent.entry(group).or_default().push(Item::Message(*packet));
            return;
        };
        let sending = self.sending.entry(group).or_default();
        if part.begins() {
            sending.clear();
        }
        sending.extend_from_slice(&bytes);
        if part.ends() {
            let whole = std::mem::take(sending);
            self.sent.entry(group).or_default().push(Item::SysEx(whole));
        }
    }

    /// An output played a packet.
    pub fn heard(&mut self, now: TrueTime, place: &Place, packet: &Ump) {
        let output = self.outputs.entry(place.clone()).or_default();
        output.log.push((now, *packet));
        output.device.play(packet);
        if let Err(what) = output.take(packet, &self.sent)
            && self.violation.is_none()
        {
            self.violation = Some(format!("{} at host {}: {what}", place.1, place.0));
        }
    }

    /// A SysEx may end unfinished on the outputs of a host: it was silenced, stopped, or unplugged.
    pub fn may_be_cut(&mut self, host: usize) {
        for (_, output) in self.outputs.iter_mut().filter(|((h, _), _)| *h == host) {
            output.sysex = None;
        }
    }

    /// Nothing sounds on any output, and no SysEx is unfinished.
    ///
    /// # Errors
    /// Names the outputs where something does.
    pub fn all_silent(&self) -> Result<(), String> {
        for (place, output) in &self.outputs {
            let sounding = output.device.sounding();
            if !sounding.is_empty() {
                return Err(format!("{place:?} was left sounding {sounding:?}"));
            }
            if let Some((group, _)) = &output.sysex {
                return Err(format!("{place:?} has half a SysEx of source {group}"));
            }
        }
        Ok(())
    }

    /// How many items of the source in `group` an output played, and how many were sent.
    #[must_use]
    pub fn share(&self, place: &Place, group: u8) -> (usize, usize) {
        let heard = self.outputs.get(place).and_then(|o| o.heard.get(&group));
        (heard.map_or(0, |(_, count)| *count), self.sent.get(&group).map_or(0, Vec::len))
    }

    /// Every item of the source arrived at the output.
    ///
    /// # Errors
    /// Says how many did not.
    pub fn all_arrived(&self, place: &Place, group: u8) -> Result<(), String> {
        let (heard, sent) = self.share(place, group);
        if heard == sent {
            return Ok(());
        }
        Err(format!("{place:?} played {heard} of {sent} messages of source {group}"))
    }

    /// What an output played, and when.
    #[must_use]
    pub fn log(&self, place: &Place) -> &[(TrueTime, Ump)] {
        self.outputs.get(place).map_or(&[], |o| &o.log)
    }

    /// What sounds on an output now.
    #[must_use]
    pub fn sounding(&self, place: &Place) -> Vec<(u8, u8, u8)> {
        self.outputs.get(place).map_or_else(Vec::new, |o| o.device.sounding())
    }
}

impl Output {
    fn take(&mut self, packet: &Ump, sent: &BTreeMap<u8, Vec<Item>>) -> Result<(), String> {
        let group = packet.group().unwrap_or(0);
        if let Some((part, bytes)) = sysex7::payload(packet) {
            return self.take_sysex(group, part, &bytes, sent);
        }
        let is_real_time = packet.message_type() == MessageType::System && packet.status() >= 0xF8;
        if let Some((inside, _)) = &self.sysex
            && !is_real_time
        {
            return Err(format!("{packet:?} stands inside a SysEx of source {inside}"));
        }
        if is_made_by_nodes(packet) {
            return Ok(());
        }
        self.find(group, &Item::Message(*packet), sent)
    }

    fn take_sysex(
        &mut self,
        group: u8,
        part: Part,
        bytes: &[u8],
        sent: &BTreeMap<u8, Vec<Item>>,
    ) -> Result<(), String> {
        match (&mut self.sysex, part.begins()) {
            (Some((inside, _)), true) => {
                return Err(format!("a SysEx begins inside one of source {inside}"));
            }
            (None, false) => return Err(format!("{part:?} of a SysEx that did not begin")),
            (Some((inside, _)), false) if *inside != group => {
                return Err(format!("a SysEx of {group} goes on inside one of source {inside}"));
            }
            (Some((_, all)), false) => all.extend_from_slice(bytes),
            (None, true) => self.sysex = Some((group, bytes.to_vec())),
        }
        if part.ends()
            && let Some((group, whole)) = self.sysex.take()
        {
            return self.find(group, &Item::SysEx(whole), sent);
        }
        Ok(())
    }

    /// Finds the item behind the last one of its source that was heard.
    fn find(
        &mut self,
        group: u8,
        item: &Item,
        sent: &BTreeMap<u8, Vec<Item>>,
    ) -> Result<(), String> {
        let all = sent.get(&group).map_or(&[][..], Vec::as_slice);
        let (next, count) = self.heard.entry(group).or_default();
        match all[*next..].iter().position(|i| i == item) {
            Some(ahead) => {
                *next += ahead + 1;
                *count += 1;
                Ok(())
            }
            None if all.contains(item) => Err(format!("{} came twice or too late", brief(item))),
            None => Err(format!("{} was never sent", brief(item))),
        }
    }
}

fn brief(item: &Item) -> String {
    match item {
        Item::Message(message) => format!("{message:?}"),
        Item::SysEx(bytes) => format!("a SysEx of {} bytes", bytes.len()),
    }
}

/// Whether the message is one that nodes make: a release, or the silence after a panic.
fn is_made_by_nodes(message: &Ump) -> bool {
    let words = message.words();
    let [_, status, data1, data2] = words[0].to_be_bytes();
    match (message.message_type(), status >> 4, data1) {
        (MessageType::Midi1Voice, 0x8, _) => data2 == 64,
        (MessageType::Midi1Voice, 0xB, 64 | 66 | 67 | 69 | 120 | 123) => data2 == 0,
        (MessageType::Midi1Voice, 0xE, _) => (data1, data2) == (0, 64),
        (MessageType::Midi2Voice, 0x8 | 0xE, _) => words[1] == 0x8000_0000,
        (MessageType::Midi2Voice, 0xB, 64 | 66 | 67 | 69) => words[1] == 0,
        _ => false,
    }
}
