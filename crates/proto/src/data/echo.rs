//! Hears whether what a node writes comes back to it, through a cable or a program that carries no count of hops.
//!
//! ```text
//! output ─ written ▸ [what was written of late] ◂ read ─ source
//!                          │ again and again
//!                          ▾
//!          suspected: echoes of it are dropped ▸ nothing comes any more: it was a loop, and is said
//!                                              ▸ it comes all the same: it was none
//! ```
//!
//! A message that is read just after it was written is an echo, if it goes on so: a loop sends round the very same
//! message, as often as it likes. A device may repeat itself too; what tells the two apart is that a loop is silent
//! once its echoes are dropped. While a source is cut only echoes are dropped: what is played on it passes, goes round
//! once, and ends where it came in. So a loop is no reason to be silent, and it does no harm to go on listening.
//!
//! The loop is open when what is written comes back no more. Where a program goes on to send on what it hears, the way
//! on may be open instead: so now and then one echo passes that nobody hears twice, a note-off or a controller, and
//! has to come back once more. Of several nodes that cut one loop the last goes on to do so.
//!
//! Two clocks of one tempo look like one that comes back. A clock is an echo only where it ticks as none does.

use self::sysex::SysexGuard;
use crate::config::PORTS_MAX;
use crate::data::classify::may_interrupt_bulk;
use crate::id::PortId;
use crate::midi::{MessageType, Ump};
use crate::time::{LocalTime, Span};

/// What comes back later than that after it was written did not come by a cable, nor by one of JACK's longer periods.
const BACK_WITHIN: Span = Span::from_ms(34);

/// A loop is no longer than that: else one that plays is faster.
const ROUND_MAX: Span = Span::from_ms(60);

/// As often it has to come back.
const ROUNDS: u16 = 3;

/// For so long it has to have done so: nobody repeats himself thirty times a second for that.
const SUSPECTED_AFTER: Span = Span::from_ms(50);

/// Messages of a clock that come back in [`ROUND_MAX`]: at 300 beats a minute it has seven, and twelve in
/// [`PROVEN_AFTER`].
const TICKS: u16 = 30;

/// In so long it shows whether it was a loop.
const PROVEN_AFTER: Span = Span::from_ms(100);

/// Messages like the echo that come, in that time, although nothing was written: then it was none.
const DISPROVEN_BY: u16 = 2;

/// Whose messages were no echo is not suspected for so long.
const TRUSTED_FOR: Span = Span::from_s(600);

/// Messages that were written and did not come back: then the loop is open.
const MENDED_BY: u8 = 2;

/// After so long an echo may pass to see whether the loop is open; each time it is not, after twice as long.
const TRIED_AFTER: Span = Span::from_s(2);
/// See [`TRIED_AFTER`].
const TRIED_AFTER_MAX: Span = Span::from_s(16);

/// It has to come back once more in thrice the time that a round took when the loop was found, and this; and no later
/// than a loop can be long: what comes then is somebody who plays the same.
const TRIED_FOR: Span = Span::from_ms(20);

/// Messages that are remembered, each in the place that its words give it: of two for one place the newer is.
const PLACES: usize = 512;

/// Sources that are cut at the same time; one more goes on.
const CUTS_MAX: usize = 32;

/// What is to be done with a message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is played.
    Pass,
    /// It came back: it is dropped.
    Echo,
}

/// What became of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looped {
    /// Which.
    pub source: PortId,
    /// The output whose messages come back to it.
    pub output: PortId,
    /// Whether they still do.
    pub cut: bool,
}

/// A message that was written of late.
#[derive(Clone, Copy, Debug)]
struct Written {
    message: Ump,
    output: PortId,
    /// The source that read it last.
    source: PortId,
    at: LocalTime,
    /// How many were written and did not come back yet.
    away: u16,
    /// How often it came back in a row, and since when.
    rounds: u16,
    since: LocalTime,
}

/// A source whose echoes are dropped.
#[derive(Clone, Copy, Debug)]
struct Cut {
    source: PortId,
    output: PortId,
    since: LocalTime,
    /// The message that gave it away.
    message: Ump,
    /// How often it came although it was not written.
    against: u16,
    against_at: LocalTime,
    /// The status bytes of what came back of late.
    back: [u8; 4],
    proven: bool,
    /// When something was written that did not come back yet.
    asked: Option<LocalTime>,
    unanswered: u8,
    /// How long a round took.
    round: Span,
    /// The echo that passed, and when.
    trying: Option<(Ump, LocalTime)>,
    /// When the next may, and how long after the one before.
    try_at: LocalTime,
    pause: Span,
}

impl Cut {
    /// When nothing that speaks against it has come for long enough.
    fn proven_at(&self) -> LocalTime {
        self.since + PROVEN_AFTER.max(self.round * 3)
    }

    /// Something came back.
    fn came_back(&mut self, message: &Ump) {
        (self.asked, self.unanswered) = (None, 0);
        let status = message.status();
        if !self.back.contains(&status) {
            self.back.rotate_right(1);
            self.back[0] = status;
        }
    }

    /// Whether a message is of those that come back: a program may send on notes and not clocks.
    fn comes_back(&self, message: &Ump) -> bool {
        !may_interrupt_bulk(message) && self.back.contains(&message.status())
    }

    /// The message that gave it away came, although it was not written: whether it goes on as it did then. Whoever
    /// plays it again does so later.
    fn is_disproven(&mut self, now: LocalTime, message: &Ump) -> bool {
        if self.message != *message {
            return false;
        }
        let pause = now - core::mem::replace(&mut self.against_at, now);
        let goes_on = !self.proven || pause <= self.round * 3;
        self.against = if goes_on { self.against + 1 } else { 1 };
        // A clock that comes back is heard beside the one that goes on.
        self.against >= if may_interrupt_bulk(message) { TICKS / 2 } else { DISPROVEN_BY }
    }

    /// Until when the echo that passed has to come back.
    fn tried_until(&self) -> Option<LocalTime> {
        self.trying.map(|(_, tried)| tried + (self.round * 3).min(ROUND_MAX) + TRIED_FOR)
    }

    /// An echo came, and no other of its like is on its way; whether it passes.
    fn tries(&mut self, now: LocalTime, message: &Ump) -> bool {
        if self.trying.is_some_and(|(tried, _)| tried == *message) {
            self.pause = (self.pause * 2).min(TRIED_AFTER_MAX);
            (self.trying, self.try_at) = (None, now + self.pause);
            return false;
        }
        let tries =
            self.proven && self.trying.is_none() && now >= self.try_at && may_repeat(message);
        if tries {
            self.trying = Some((*message, now));
        }
        tries
    }
}

/// Whether a message says the same when it comes twice.
fn may_repeat(message: &Ump) -> bool {
    let [_, status, index, _] = message.words().first().map_or([0; 4], |word| word.to_be_bytes());
    match (message.message_type(), status >> 4) {
        (MessageType::Midi1Voice, 0xB) => !(96..=97).contains(&index),
        (MessageType::Midi1Voice | MessageType::Midi2Voice, 0x8 | 0xA..=0xE) => true,
        _ => false,
    }
}

/// Listens for echoes on all sources of a node.
#[derive(Debug)]
pub struct EchoGuard {
    written: Vec<Option<Written>>,
    cuts: Vec<Cut>,
    /// Until when each source is not suspected.
    trusted: Vec<LocalTime>,
    /// A source that was said to be part of a loop and is not, with its output.
    said_wrongly: Option<(PortId, PortId)>,
    /// Nothing is to be looked at before then.
    wake_at: LocalTime,
    sysex: SysexGuard,
}

impl Default for EchoGuard {
    fn default() -> Self {
        Self {
            written: vec![None; PLACES],
            cuts: Vec::with_capacity(CUTS_MAX),
            trusted: vec![LocalTime::ZERO; PORTS_MAX],
            said_wrongly: None,
            wake_at: LocalTime::MAX,
            sysex: SysexGuard::default(),
        }
    }
}

/// Where a message is remembered.
fn place(message: &Ump) -> usize {
    let mixed = message
        .words()
        .iter()
        .fold(0u32, |hash, word| (hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9));
    (mixed >> 23) as usize % PLACES
}

impl EchoGuard {
    /// Places there is memory for, in all that could grow.
    #[cfg(test)]
    pub(crate) fn capacities(&self) -> Vec<usize> {
        let own = [self.written.capacity(), self.cuts.capacity(), self.trusted.capacity()];
        own.into_iter().chain(self.sysex.capacities()).collect()
    }

    /// A message was written to an output.
    ///
    /// Realtime-safe: yes
    pub fn wrote(&mut self, now: LocalTime, output: PortId, message: &Ump) {
        let slot = &mut self.written[place(message)];
        match slot {
            Some(before) if before.message == *message && now - before.at <= ROUND_MAX => {
                before.away = before.away.saturating_add(1);
                (before.at, before.output) = (now, output);
            }
            _ => {
                let (message, at) = (*message, now);
                let source = PortId::NONE;
                *slot =
                    Some(Written { message, output, source, at, away: 1, rounds: 0, since: now });
            }
        }
        for cut in self.cuts.iter_mut().filter(|cut| cut.proven && cut.output == output) {
            if cut.asked.is_none() && cut.comes_back(message) {
                cut.asked = Some(now);
                self.wake_at = self.wake_at.min(now + ROUND_MAX);
            }
        }
    }

    /// A message was read from a source.
    ///
    /// Realtime-safe: yes
    pub fn read(&mut self, now: LocalTime, source: PortId, message: &Ump) -> Heard {
        let slot = self.written[place(message)].as_mut();
        let written = slot.filter(|w| w.message == *message);
        let back = written.filter(|w| w.away > 0 && now - w.at <= BACK_WITHIN);
        let cut = self.cuts.iter_mut().find(|cut| cut.source == source);
        let Some(written) = back else {
            if let Some(cut) = cut
                && cut.is_disproven(now, message)
            {
                let (output, was_said) = (cut.output, cut.proven);
                self.acquit(now, source);
                self.said_wrongly = was_said.then_some((source, output)).or(self.said_wrongly);
                self.wake_at = if was_said { now } else { self.wake_at };
            }
            return Heard::Pass;
        };
        written.away -= 1;
        if let Some(cut) = cut {
            cut.came_back(message);
            if written.away > 0 || !cut.tries(now, message) {
                return Heard::Echo;
            }
            self.wake_at = self.wake_at.min(cut.tried_until().unwrap_or(now));
            return Heard::Pass;
        }
        let is_clock = may_interrupt_bulk(message);
        // Clocks of several sources are one message: each has to come back by itself.
        let is_another = written.source != source;
        written.source = source;
        if is_clock && (is_another || now - written.since > ROUND_MAX) {
            (written.rounds, written.since) = (0, now);
        }
        written.rounds = written.rounds.saturating_add(1);
        let suspected = if is_clock {
            written.rounds >= TICKS
        } else {
            written.rounds >= ROUNDS && now - written.since >= SUSPECTED_AFTER
        };
        let trusted = self.trusted.get(usize::from(source.0)).is_none_or(|until| now < *until);
        if !suspected || trusted || self.cuts.len() >= CUTS_MAX {
            return Heard::Pass;
        }
        self.cuts.push(Cut {
            source,
            output: written.output,
            round: (now - written.since) / i64::from(written.rounds.max(1)),
            since: now,
            message: *message,
            against: 0,
            against_at: now,
            back: [message.status(), 0, 0, 0],
            proven: false,
            asked: None,
            unanswered: 0,
            trying: None,
            // Two nodes that find one loop at one moment do not try at one.
            try_at: now + TRIED_AFTER + Span::from_ms(i64::from(source.0 % 16) * 60),
            pause: TRIED_AFTER,
        });
        let proven_at = self.cuts.last().map_or(now, Cut::proven_at);
        self.wake_at = self.wake_at.min(proven_at);
        Heard::Echo
    }

    /// A packet of a bulk message was written to an output.
    ///
    /// Realtime-safe: yes
    pub fn wrote_bulk(&mut self, now: LocalTime, output: PortId, packet: &Ump) {
        self.sysex.wrote(now, output, packet);
    }

    /// A packet of a bulk message was read from a source.
    ///
    /// Realtime-safe: yes
    pub fn read_bulk(&mut self, now: LocalTime, source: PortId, packet: &Ump) -> Heard {
        self.sysex.read(now, source, packet)
    }

    /// A source is there no more.
    ///
    /// Realtime-safe: yes
    pub fn forget(&mut self, source: PortId) {
        self.sysex.forget(source);
        self.cuts.retain(|cut| cut.source != source);
        if let Some(until) = self.trusted.get_mut(usize::from(source.0)) {
            *until = LocalTime::ZERO;
        }
    }

    /// What has shown by now, one thing at a time.
    ///
    /// Realtime-safe: yes
    pub fn poll(&mut self, now: LocalTime) -> Option<Looped> {
        if now >= self.sysex.wake_at()
            && let Some(looped) = self.sysex.poll(now)
        {
            return Some(looped);
        }
        if now < self.wake_at {
            return None;
        }
        if let Some((source, output)) = self.said_wrongly.take() {
            return Some(Looped { source, output, cut: false });
        }
        for n in 0..self.cuts.len() {
            let cut = &mut self.cuts[n];
            if !cut.proven && now >= cut.proven_at() {
                cut.proven = true;
                return Some(Looped { source: cut.source, output: cut.output, cut: true });
            }
            if cut.asked.is_some_and(|asked| now - asked >= ROUND_MAX) {
                cut.asked = None;
                cut.unanswered += 1;
            }
            let is_silent = cut.tried_until().is_some_and(|until| now >= until);
            if is_silent || cut.unanswered >= MENDED_BY {
                let cut = self.cuts.swap_remove(n);
                return Some(Looped { source: cut.source, output: cut.output, cut: false });
            }
        }
        let next = |cut: &Cut| {
            let proven = if cut.proven { LocalTime::MAX } else { cut.proven_at() };
            let tried = cut.tried_until().unwrap_or(LocalTime::MAX);
            cut.asked.map_or(LocalTime::MAX, |asked| asked + ROUND_MAX).min(proven).min(tried)
        };
        self.wake_at = self.cuts.iter().map(next).min().unwrap_or(LocalTime::MAX);
        None
    }

    /// When [`EchoGuard::poll`] may have something.
    ///
    /// Realtime-safe: yes
    #[must_use]
    pub fn wake_at(&self) -> LocalTime {
        self.wake_at.min(self.sysex.wake_at())
    }

    /// It was no loop.
    fn acquit(&mut self, now: LocalTime, source: PortId) {
        self.cuts.retain(|cut| cut.source != source);
        if let Some(until) = self.trusted.get_mut(usize::from(source.0)) {
            *until = now + TRUSTED_FOR;
        }
    }
}

mod sysex;
#[cfg(test)]
mod tests;
