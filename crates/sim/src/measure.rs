//! One kind of music over one path: whether all checkers hold, and how late it came.

use std::collections::BTreeMap;

use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;

use crate::checkers::{Item, sent::Class};
use crate::clock::TrueTime;
use crate::network::Path;
use crate::scenario::{balance, calm_pair, place, quiet};
use crate::traffic::{Traffic, drive};
use crate::world::World;

/// Equal messages so far from each other are told apart.
const APART: Span = Span::from_s(5);
/// The group in which the source plays.
const GROUP: u8 = 1;

/// What came of it; of several runs, all together.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Messages that the source sent.
    pub sent: u64,
    /// Messages that were played.
    pub played: u64,
    /// Messages that were not, because a newer one says all that they said.
    pub superseded: u64,
    /// Note-ons that came too late.
    pub late_dropped: u64,
    /// Note-ons that were sent.
    pub note_ons: u64,
    /// What sounded in the end.
    pub stuck: u64,
    /// Runs in which the link was lost and made again: nothing was heard of the other for three seconds.
    pub links_lost: u64,
    /// How long each took beyond the delay of the path, in nanoseconds; sorted by [`Figures::sort`].
    /// Those are left out that have an equal within five seconds: nobody knows which of them came.
    pub delays_ns: Vec<i64>,
}

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.played += other.played;
        self.superseded += other.superseded;
        self.late_dropped += other.late_dropped;
        self.note_ons += other.note_ons;
        self.stuck += other.stuck;
        self.links_lost += other.links_lost;
        self.delays_ns.extend(other.delays_ns);
    }

    /// Sorts the delays, for [`Figures::quantile`].
    pub fn sort(&mut self) {
        self.delays_ns.sort_unstable();
    }

    /// The delay that so many of a thousand do not exceed; 1,000: the longest.
    #[must_use]
    pub fn quantile(&self, thousandths: usize) -> Span {
        let rank = (self.delays_ns.len() * thousandths).div_ceil(1000).max(1) - 1;
        Span::from_ns(self.delays_ns.get(rank).copied().unwrap_or(0))
    }
}

/// Plays so much of `traffic` from one node to another over `path`, waits for rest, and asks all checkers.
///
/// # Errors
/// What a checker found.
pub fn run(traffic: Traffic, path: Path, length: Span, seed: u64) -> Result<Figures, String> {
    let (mut w, mac, pc) = calm_pair(path, seed)?;
    drive(&mut w, (mac, "Keys"), &traffic.script(GROUP, length, seed))?;
    quiet(&mut w)?;
    let mut figures = figures(&w, pc);
    if w.checkers.excused {
        // The link was lost: what it released and what it never got back cannot be told apart.
        figures.links_lost = 1;
    } else {
        balance(&w, mac, &place(pc, "Keys @ mac"), &[GROUP])?;
    }
    Ok(figures)
}

/// What came of what "Keys" sent.
fn figures(w: &World, pc: usize) -> Figures {
    let far = place(pc, "Keys @ mac");
    let mut figures = Figures::default();
    let items: Vec<_> = w.checkers.items(&far, GROUP).collect();
    let mut equals: BTreeMap<Vec<u32>, Vec<TrueTime>> = BTreeMap::new();
    for (item, sent, _) in &items {
        equals.entry(words(item)).or_default().push(*sent);
    }
    for (item, sent, heard) in items {
        figures.sent += 1;
        figures.note_ons += u64::from(begins_note(item));
        let near = |at: &&TrueTime| at.since(sent).abs() < APART;
        let alone =
            equals.get(&words(item)).is_some_and(|all| all.iter().filter(near).count() == 1);
        match heard {
            Some(heard) => {
                figures.played += 1;
                let delay = heard.since(sent) - w.network.path.delay;
                figures.delays_ns.extend(alone.then_some(delay.as_ns()));
            }
            // Of a note nothing but its beginning is ever left out.
            None if Class::of(item).is_note() => figures.late_dropped += 1,
            None => figures.superseded += 1,
        }
    }
    figures.stuck = w.checkers.sounding(&far).len() as u64;
    figures
}

fn words(item: &Item) -> Vec<u32> {
    match item {
        Item::Message(message) => message.words().to_vec(),
        Item::SysEx(bytes) => bytes.iter().map(|byte| u32::from(*byte)).collect(),
    }
}

fn begins_note(item: &Item) -> bool {
    let is_on = |message: &Ump| Class::of(item).is_note() && message.status() >> 4 == 9;
    matches!(item, Item::Message(message) if is_on(message))
}
