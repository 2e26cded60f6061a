//! Every message that an output plays, held against what the sources sent.
//!
//! ```text
//! played ▸ sysex   a SysEx whole or not at all, nothing inside it
//!        ▸ order   it was sent; not twice; no channel out of order
//!        ▸ values  no device has a value that its source's never had
//! at rest ▸ rest   nothing hangs; each device is what its source's is
//!         ▸ short  no node ended what its source went on holding
//!         ▸ accounts  each event of the real-time lane was played, superseded or dropped
//! ```
//!
//! Each source of a scenario plays in its own group and never sends the same note twice in a short
//! while, so a message names its source and its place. Messages that nodes make themselves (releases)
//! are told by their values, which sources do not use: note-off velocity 64, pedal 0, bend centre.

use std::collections::{BTreeMap, BTreeSet};

use midip2p_proto::midi::{MessageType, Ump, sysex7};
use midip2p_proto::time::Span;

pub mod accounts;
pub mod order;
pub mod rest;
pub mod sent;
pub mod short;
pub mod sysex;
pub mod values;

pub use self::sent::Item;

use self::order::{Order, Repaired};
use self::sent::{Class, Source};
use self::sysex::Whole;
use self::values::Values;
use crate::clock::TrueTime;
use crate::device::State;

/// What a snapshot made is played within this.
const SNAPSHOT: Span = Span::from_ms(50);

/// An output: which host, and its name there.
pub type Place = (usize, String);

/// All checkers and what they have seen.
#[derive(Debug, Default)]
pub struct Checkers {
    sources: BTreeMap<u8, Source>,
    outputs: BTreeMap<Place, Output>,
    /// Groups in which several sources play: only the devices hear them.
    shared: BTreeSet<u8>,
    /// When a node last played something that a snapshot made, and how often it had by then.
    pub repaired: BTreeMap<usize, (TrueTime, u64)>,
    /// Whether something happened after which a device need not be what its source's is.
    pub excused: bool,
    /// Whether somebody pressed panic, which cuts short what sounds.
    pub panicked: bool,
    /// The first thing that was wrong.
    pub violation: Option<String>,
}

#[derive(Debug, Default)]
struct Output {
    device: State,
    sysex: Whole,
    /// For each source how far it was heard.
    heard: BTreeMap<u8, (Order, Values)>,
    log: Vec<(TrueTime, Ump)>,
}

impl Checkers {
    /// A source gave a packet to its node.
    pub fn sent(&mut self, now: TrueTime, packet: &Ump) {
        self.sources.entry(packet.group().unwrap_or(0)).or_default().sent(now, packet);
    }

    /// Several sources play in this group: what it hears cannot be told apart, and is not checked.
    pub fn share_group(&mut self, group: u8) {
        self.shared.insert(group);
    }

    /// An output played a packet.
    pub fn heard(&mut self, now: TrueTime, place: &Place, packet: &Ump) {
        let output = self.outputs.entry(place.clone()).or_default();
        output.log.push((now, *packet));
        let repaired = match self.repaired.get(&place.0) {
            None => Repaired::Never,
            Some((at, _)) if now.since(*at) > SNAPSHOT => Repaired::Once,
            Some(_) => Repaired::Now,
        };
        let group = packet.group().unwrap_or(0);
        let found = if self.shared.contains(&group) {
            output.device.play(packet);
            output.sysex.heard(packet).map(drop)
        } else {
            let nothing = Source::default();
            output.take(now, packet, self.sources.get(&group).unwrap_or(&nothing), repaired)
        };
        if let Err(what) = found
            && self.violation.is_none()
        {
            self.violation = Some(format!("{} at host {}: {what}", place.1, place.0));
        }
    }

    /// A SysEx may end unfinished on the outputs of a host: it was silenced, stopped, or unplugged.
    pub fn may_be_cut(&mut self, host: usize) {
        self.excused = true;
        for (_, output) in self.outputs.iter_mut().filter(|((h, _), _)| *h == host) {
            output.sysex.may_be_cut();
        }
    }

    /// The devices on the outputs of a host are as in the beginning.
    pub fn switched_off(&mut self, host: usize) {
        for (_, output) in self.outputs.iter_mut().filter(|((h, _), _)| *h == host) {
            output.device = State::default();
        }
    }

    /// The device on one output is as in the beginning: it was unplugged, or its program is gone.
    pub fn unplugged(&mut self, place: &Place) {
        if let Some(output) = self.outputs.get_mut(place) {
            output.device = State::default();
            output.sysex.may_be_cut();
        }
    }

    /// What sounds anywhere.
    pub fn all_sounding(&self) -> impl Iterator<Item = (&Place, Vec<(u8, u8, u8)>)> {
        self.outputs.iter().map(|(place, output)| (place, output.device.sounding()))
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
            if let Some((group, _)) = &output.sysex.open {
                return Err(format!("{place:?} has half a SysEx of source {group}"));
            }
        }
        Ok(())
    }

    /// Each device that heard a source is what a device would be that heard all of it; not looked at
    /// where that cannot be asked: after links were cut.
    ///
    /// # Errors
    /// What differs, and where.
    pub fn all_agree(&self) -> Result<(), String> {
        if self.excused {
            return Ok(());
        }
        for (place, output) in &self.outputs {
            let heard = output.heard.keys().filter(|group| !self.shared.contains(group));
            for group in heard {
                self.agree(place, *group)?;
                if let Some(source) = self.sources.get(group).filter(|_| !self.panicked) {
                    short::nothing_cut(*group, &output.log, source)
                        .map_err(|what| format!("{place:?}: {what}"))?;
                }
            }
        }
        Ok(())
    }

    /// The device of an output is what one would be that heard all that the source in `group` sent.
    ///
    /// # Errors
    /// What differs.
    pub fn agree(&self, place: &Place, group: u8) -> Result<(), String> {
        let (nothing, unheard) = (Output::default(), Default::default());
        let output = self.outputs.get(place).unwrap_or(&nothing);
        let (order, _) = output.heard.get(&group).unwrap_or(&unheard);
        let Some(source) = self.sources.get(&group) else { return Ok(()) };
        rest::compare(group, &output.device, source, order)
            .map_err(|what| format!("{place:?}: {what}"))
    }

    /// How many items of the source in `group` an output played, and how many were sent.
    #[must_use]
    pub fn share(&self, place: &Place, group: u8) -> (usize, usize) {
        let heard = self.outputs.get(place).and_then(|o| o.heard.get(&group));
        let sent = self.sources.get(&group).map_or(0, |source| source.items.len());
        (heard.map_or(0, |(order, _)| order.heard.len()), sent)
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
        let missing = self.items(place, group).filter(|(.., heard)| heard.is_none());
        let missing: Vec<String> = missing.take(4).map(|(item, ..)| item.brief()).collect();
        let missing = missing.join(", ");
        Err(format!("{place:?} played {heard} of {sent} messages of source {group}, not {missing}"))
    }

    /// Every item of the source arrived at the output, but for so many note-ons at the most: in a burst of
    /// loss longer than the limit for notes that come late, they do not.
    ///
    /// # Errors
    /// Says what else is missing, or that more are.
    pub fn arrived_but_for(&self, most: usize, place: &Place, group: u8) -> Result<(), String> {
        let missing = self.items(place, group).filter(|(.., heard)| heard.is_none());
        let missing: Vec<&Item> = missing.map(|(item, ..)| item).collect();
        let begins = |item: &&Item| matches!(item, Item::Message(m) if Class::of(item).is_note() && m.status() >> 4 == 9);
        if missing.len() <= most && missing.iter().all(begins) {
            return Ok(());
        }
        let missing: Vec<String> = missing.into_iter().map(Item::brief).collect();
        Err(format!("{place:?} did not play {}", missing.join(", ")))
    }

    /// What the source in `group` sent, with the moments at which it did and was heard at the output.
    pub fn items<'a>(
        &'a self,
        place: &Place,
        group: u8,
    ) -> impl Iterator<Item = (&'a Item, TrueTime, Option<TrueTime>)> + 'a {
        let heard = self.outputs.get(place).and_then(|o| o.heard.get(&group));
        let items = self.sources.get(&group).map_or(&[][..], |source| &source.items);
        items.iter().enumerate().map(move |(n, (at, item))| {
            (item, *at, heard.and_then(|(order, _)| order.heard.get(&n).copied()))
        })
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
    fn take(
        &mut self,
        now: TrueTime,
        packet: &Ump,
        source: &Source,
        repaired: Repaired,
    ) -> Result<(), String> {
        let changes = self.device.play(packet);
        let group = packet.group().unwrap_or(0);
        let whole = self.sysex.heard(packet)?;
        if whole.is_none() && sysex7::payload(packet).is_some() {
            return Ok(());
        }
        let (order, values) = self.heard.entry(group).or_default();
        if is_made_by_nodes(packet) {
            return Ok(());
        }
        let item = whole.map_or(Item::Message(*packet), Item::SysEx);
        order.heard(now, &item, source, repaired)?;
        values.changed(&changes, source)
    }
}

/// Whether the message is one that nodes make: a release, or the silence after a panic.
pub(crate) fn is_made_by_nodes(message: &Ump) -> bool {
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
