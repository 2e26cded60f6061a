//! Music by the kind: what sources send in the scenarios and in the table of figures.
//!
//! A [`Script`] is a list of messages with the moments at which they are sent. No two notes of a script
//! are alike within a few thousand, all values differ from those that nodes use for releases (note-off
//! velocity 64, pedal 0, bend centre), and in the end every note and pedal is let go.

use std::collections::VecDeque;

use midip2p_proto::midi::Ump;
use midip2p_proto::random::Random;
use midip2p_proto::time::Span;

use crate::world::World;

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A note begins, or ends, and for 400 ms nothing else happens that could carry a repeat.
    Lone,
    /// Ten events a second: one hand playing, a pedal now and then.
    Ten,
    /// A thousand events a second on sixteen channels: notes, and a controller in five.
    Thousand,
    /// A dense score: each 125 ms all of a tick at once, up to 245 events.
    Ticks,
    /// Four controllers, bend and pressure move without pause, with five notes a second.
    Sweeps,
    /// Somebody edits sounds: NRPN, RPN, banks and programs, with a few notes.
    Edits,
    /// MIDI 2.0: notes with their own controllers and bends, parameters of 32 bits.
    Midi2,
}

/// Messages, and when each is sent from the beginning on; in order.
pub type Script = Vec<(Span, Ump)>;

impl Traffic {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Lone,
        Self::Ten,
        Self::Thousand,
        Self::Ticks,
        Self::Sweeps,
        Self::Edits,
        Self::Midi2,
    ];

    /// How the table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lone => "lone",
            Self::Ten => "10/s",
            Self::Thousand => "1,000/s",
            Self::Ticks => "ticks of 245",
            Self::Sweeps => "sweeps",
            Self::Edits => "edits",
            Self::Midi2 => "MIDI 2.0",
        }
    }

    /// About so long of it, by the source that plays in `group`.
    #[must_use]
    pub fn script(self, group: u8, length: Span, seed: u64) -> Script {
        let mut player = Player::new(group, seed);
        let end = length.as_ns();
        while player.at.as_ns() < end {
            match self {
                Self::Lone => player.lone(),
                Self::Ten => player.ten(),
                Self::Thousand => player.thousand(),
                Self::Ticks => player.tick(),
                Self::Sweeps => player.sweep(),
                Self::Edits => player.edit(),
                Self::Midi2 => player.midi2(),
            }
        }
        player.let_go();
        player.script
    }
}

/// Sends a script at its moments; those that are over before the last are not waited for.
///
/// # Errors
/// What a checker found, or that the source is not read.
pub fn drive(w: &mut World, (host, source): (usize, &str), script: &Script) -> Result<(), String> {
    let began = w.now;
    for (at, message) in script {
        let due = began.after(*at);
        if due > w.now {
            w.run(due.since(w.now))?;
        }
        w.send(host, source, *message).then_some(()).ok_or("the source is not read")?;
    }
    Ok(())
}

struct Player {
    group: u8,
    random: Random,
    at: Span,
    /// How many notes began.
    notes: u32,
    held: VecDeque<(u8, u8, bool)>,
    pedals: [bool; 16],
    step: u32,
    script: Script,
}

impl Player {
    fn new(group: u8, seed: u64) -> Self {
        Self {
            group,
            random: Random::new(seed),
            at: Span::ZERO,
            notes: 0,
            held: VecDeque::new(),
            pedals: [false; 16],
            step: 0,
            script: Vec::new(),
        }
    }

    fn wait(&mut self, span: Span) {
        self.at = self.at + span;
    }

    /// Waits about so long: half of it to half more.
    fn wait_about(&mut self, span: Span) {
        let width = u64::try_from(span.as_ns()).unwrap_or(1);
        let extra = i64::try_from(self.random.below(width)).unwrap_or(0);
        self.wait(span / 2 + Span::from_ns(extra));
    }

    /// A number from `low` to below `high`.
    fn between(&mut self, low: u8, high: u8) -> u8 {
        let drawn = self.random.below(u64::from(high - low)).to_be_bytes()[7];
        low + drawn
    }

    fn midi1(&mut self, status: u8, data1: u8, data2: u8) {
        self.script.push((self.at, Ump::midi1(self.group, status, data1, data2)));
    }

    fn words(&mut self, status: u8, data1: u8, data2: u8, value: u32) {
        let first = u32::from_be_bytes([0x40 | self.group, status, data1, data2]);
        if let Ok(message) = Ump::from_words(&[first, value]) {
            self.script.push((self.at, message));
        }
    }

    fn note_on(&mut self, channel: u8, midi2: bool) -> u8 {
        let [.., key, round] =
            [self.notes % 100, self.notes / 100 % 120].map(|n| n.to_be_bytes()[3]);
        self.notes += 1;
        let key = 20 + key;
        if midi2 {
            self.words(0x90 | channel, key, 0, u32::from(round) << 24 | 0x0101_0000);
        } else {
            self.midi1(0x90 | channel, key, round + 1);
        }
        self.held.push_back((channel, key, midi2));
        key
    }

    fn note_off(&mut self) {
        let Some((channel, key, midi2)) = self.held.pop_front() else { return };
        if midi2 {
            self.words(0x80 | channel, key, 0, 0x1234_0000);
        } else {
            self.midi1(0x80 | channel, key, 1 + key % 60);
        }
    }

    fn pedal(&mut self, channel: u8) {
        let down = &mut self.pedals[usize::from(channel)];
        *down = !*down;
        let value = if *down { 127 } else { 1 };
        self.midi1(0xB0 | channel, 64, value);
    }

    fn let_go(&mut self) {
        while !self.held.is_empty() {
            self.note_off();
            self.wait(Span::from_ms(3));
        }
        for channel in 0..16 {
            if self.pedals[usize::from(channel)] {
                self.pedal(channel);
            }
        }
    }

    fn lone(&mut self) {
        if self.held.is_empty() {
            self.note_on(0, false);
        } else {
            self.note_off();
        }
        self.wait(Span::from_ms(400));
    }

    fn ten(&mut self) {
        self.step += 1;
        match self.step % 8 {
            0 => self.pedal(0),
            1 | 3 | 5 => {
                self.note_on(0, false);
            }
            _ if self.held.len() > 1 => self.note_off(),
            _ => {
                self.note_on(0, false);
            }
        }
        self.wait_about(Span::from_ms(100));
    }

    fn thousand(&mut self) {
        self.step += 1;
        let channel = self.between(0, 16);
        match self.step % 5 {
            0 => {
                let (controller, value) = (self.between(70, 75), self.between(1, 128));
                self.midi1(0xB0 | channel, controller, value);
            }
            1 | 2 => {
                self.note_on(channel, false);
            }
            _ => self.note_off(),
        }
        self.wait(Span::from_ms(1));
    }

    fn tick(&mut self) {
        self.step += 1;
        let most = if self.step % 4 == 1 { 245 } else { self.between(5, 200).into() };
        let offs = self.held.len().min(most / 3);
        (0..offs).for_each(|_| self.note_off());
        for n in offs..most {
            let channel = (n % 16).to_be_bytes()[7];
            match n % 12 {
                // Programs, then what belongs to them, before the notes of their channel.
                0 if self.step % 8 == 1 => {
                    let program = self.between(0, 128);
                    self.midi1(0xC0 | channel, program, 0);
                }
                1 | 5 => {
                    let (controller, value) = (self.between(7, 11), self.between(1, 128));
                    self.midi1(0xB0 | channel, controller, value);
                }
                2 => {
                    let low = self.between(1, 64);
                    self.midi1(0xE0 | channel, low, 70);
                }
                _ => {
                    self.note_on(channel, false);
                }
            }
        }
        self.wait(Span::from_ms(125));
    }

    fn sweep(&mut self) {
        self.step += 1;
        let value = {
            let [.., phase] = (self.step / 6 % 240).to_be_bytes();
            1 + if phase < 120 { phase } else { 239 - phase }
        };
        match self.step % 6 {
            0 => self.midi1(0xE0, 1, value),
            1 => self.midi1(0xD0, value, 0),
            n => self.midi1(0xB0, [0, 0, 1, 2, 11, 74][n as usize], value),
        }
        if self.step.is_multiple_of(120) {
            self.note_on(1, false);
        } else if self.step.is_multiple_of(60) {
            self.note_off();
        }
        self.wait(Span::from_us(1_600));
    }

    fn edit(&mut self) {
        self.step += 1;
        let channel = (self.step % 3).to_be_bytes()[3];
        let status = 0xB0 | channel;
        let (upper, lower) = (self.between(1, 4), self.between(1, 4));
        let (high, low) = (self.between(0, 128), self.between(1, 128));
        match self.step % 6 {
            0 => {
                self.midi1(status, 0, upper);
                self.midi1(status, 32, lower);
                self.midi1(0xC0 | channel, high, 0);
            }
            1 => {
                self.midi1(status, 101, 0);
                self.midi1(status, 100, upper % 3);
                self.midi1(status, 6, high);
                self.midi1(status, 38, low);
            }
            2 => {
                self.note_on(channel, false);
                if self.held.len() > 3 {
                    self.note_off();
                }
            }
            _ => {
                self.midi1(status, 99, upper);
                self.midi1(status, 98, lower);
                self.midi1(status, 6, high);
                // A finger on the knob: the same parameter a few more times.
                for n in 0..self.between(0, 4) {
                    self.wait(Span::from_ms(4));
                    self.midi1(status, 38, low.wrapping_add(n) & 0x7F);
                }
            }
        }
        self.wait_about(Span::from_ms(30));
    }

    fn midi2(&mut self) {
        self.step += 1;
        let channel = (self.step % 4).to_be_bytes()[3];
        let value = self.random.next_u32() | 1;
        let (bank, index) = (self.between(1, 5), self.between(1, 5));
        match self.step % 8 {
            0 | 4 => {
                let key = self.note_on(channel, true);
                self.words(channel, key, 3, value);
            }
            1 | 5 if self.held.len() > 4 => self.note_off(),
            2 => {
                if let Some((channel, key, _)) = self.held.back().copied() {
                    self.words(0x60 | channel, key, 0, value);
                }
            }
            3 => self.words(0x20 | channel, bank, index, value),
            6 => self.words(0x30 | channel, bank, index, value),
            7 => {
                let [program, ..] = value.to_be_bytes();
                let program = u32::from(program & 0x7F) << 24;
                let banks = u32::from_be_bytes([0, 0, bank, index]);
                self.words(0xC0 | channel, 0, 1, program | banks);
            }
            _ => self.words(0xB0 | channel, 74, 0, value),
        }
        self.wait_about(Span::from_ms(12));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::sent::Source;
    use crate::clock::TrueTime;

    #[test]
    fn every_script_ends_in_silence_and_is_in_order() {
        for kind in Traffic::ALL {
            let script = kind.script(3, Span::from_s(3), 7);
            let mut source = Source::default();
            let mut before = Span::ZERO;
            for (at, message) in &script {
                assert!(*at >= before && message.group() == Some(3));
                before = *at;
                source.sent(TrueTime(at.as_ns()), message);
            }
            assert!(source.state.is_silent(), "{kind:?} {:?}", source.state.sounding());
            assert!(script.iter().all(|(_, m)| !crate::checkers::is_made_by_nodes(m)), "{kind:?}");
        }
    }

    #[test]
    fn there_is_as_much_as_was_said() {
        let count = |kind: Traffic| kind.script(0, Span::from_s(8), 1).len();
        assert_eq!(count(Traffic::Lone), 20);
        assert!((70..90).contains(&count(Traffic::Ten)), "{}", count(Traffic::Ten));
        assert!((8_000..8_400).contains(&count(Traffic::Thousand)), "{}", count(Traffic::Thousand));
        let ticks = Traffic::Ticks.script(0, Span::from_s(8), 1);
        let most = ticks.iter().filter(|(at, _)| *at == Span::from_ms(500)).count();
        assert_eq!(most, 245);
    }
}
