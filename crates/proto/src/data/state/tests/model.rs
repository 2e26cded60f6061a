//! The slow, obvious model: maps, filled plainly from the rules in the documentation of the module.
//!
//! It is read in two ways. As a *table* it is what a [`StateTable`] must hold. As a *device* it is what
//! a synthesiser that follows the specifications does with the same messages: steps move a value
//! instead of forgetting it, CC 121 resets what was never set, and nothing is evicted.

use super::super::Kind;
use crate::midi::{MessageType, Ump};
use std::collections::BTreeMap;

/// A value and whether it is of MIDI 2.0.
pub(super) type Value = (bool, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    Table,
    Device,
}

/// A numbered parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Narrow { msb: Option<u8>, lsb: Option<u8> },
    Wide(u32),
}

/// One channel of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) of: As,
    pub(super) notes: BTreeMap<u8, Value>,
    pub(super) pressed: BTreeMap<u8, Value>,
    pub(super) controllers: BTreeMap<u8, Value>,
    /// CC 0 and CC 32.
    pub(super) bank: [Option<(bool, u8)>; 2],
    pub(super) program: Option<(bool, u8, [Option<u8>; 2])>,
    /// By assignable, number; with the event that set it.
    pub(super) parameters: BTreeMap<(bool, u16), (Parameter, u64)>,
    pub(super) selection: Option<(bool, Option<u8>, Option<u8>)>,
    pub(super) pressure: Option<Value>,
    pub(super) bend: Option<Value>,
    /// By note, sort (registered, assignable, bend), controller.
    pub(super) per_note: BTreeMap<(u8, u8, u8), u32>,
    pub(super) resets: BTreeMap<u8, u32>,
}

impl Channel {
    pub(super) fn new(of: As) -> Self {
        Self {
            of,
            notes: BTreeMap::new(),
            pressed: BTreeMap::new(),
            controllers: BTreeMap::new(),
            bank: [None; 2],
            program: None,
            parameters: BTreeMap::new(),
            selection: None,
            pressure: None,
            bend: None,
            per_note: BTreeMap::new(),
            resets: BTreeMap::new(),
        }
    }

    /// Takes event `number`.
    pub(super) fn hear(&mut self, number: u64, message: &Ump) {
        let [_, status, a, b] = message.words()[0].to_be_bytes();
        match message.message_type() {
            MessageType::Midi1Voice => self.midi1(number, status >> 4, a, b),
            MessageType::Midi2Voice => self.midi2(number, status >> 4, a, b, message.words()[1]),
            _ => {}
        }
    }

    fn midi1(&mut self, number: u64, opcode: u8, a: u8, b: u8) {
        let value = (false, u32::from(b));
        match opcode {
            8 => self.note_off(a),
            9 if b == 0 => self.note_off(a),
            9 => self.note_on(a, value),
            0xA => self.press(a, value),
            0xB => match a {
                0 => self.bank[0] = Some((false, b)),
                32 => self.bank[1] = Some((false, b)),
                6 => self.enter(number, |_| (Some(b), None)),
                38 => self.enter(number, |msb| (msb, Some(b))),
                96 | 97 => self.step_selected(),
                98 => self.select(true, None, Some(b)),
                99 => self.select(true, Some(b), None),
                100 => self.select(false, None, Some(b)),
                101 => self.select(false, Some(b), None),
                84 | 88 => {}
                120.. => self.mode(false, a),
                _ => {
                    if a < 32 {
                        self.controllers.remove(&(a + 32));
                    }
                    self.controllers.insert(a, value);
                }
            },
            0xC => self.program = Some((false, a, self.bank.map(|half| half.map(|(_, v)| v)))),
            0xD => self.pressure = Some((false, u32::from(a))),
            0xE => self.bend = Some((false, u32::from(b) * 128 + u32::from(a))),
            _ => {}
        }
    }

    fn midi2(&mut self, number: u64, opcode: u8, a: u8, b: u8, wide: u32) {
        let seven = u8::try_from(wide >> 25).unwrap();
        let parameter = u16::from(a) * 128 + u16::from(b & 0x7F);
        match opcode {
            0 | 1 => drop(self.per_note.insert((a, opcode, b), wide)),
            2 | 3 => self.set_parameter(number, (opcode == 3, parameter), Parameter::Wide(wide)),
            4 | 5 => self.step((opcode == 5, parameter)),
            6 => drop(self.per_note.insert((a, 2, 0), wide)),
            8 => self.note_off(a),
            9 => self.note_on(a, (true, if b == 3 { wide } else { wide & 0xFFFF_0000 })),
            0xA => self.press(a, (true, wide)),
            0xB => match a {
                0 => self.bank[0] = Some((true, seven)),
                32 => self.bank[1] = Some((true, seven)),
                6 | 38 | 84 | 88 | 96..=101 => {}
                120.. => self.mode(true, a),
                _ => drop(self.controllers.insert(a, (true, wide))),
            },
            0xC => {
                let [program, _, msb, lsb] = wide.to_be_bytes();
                if b & 1 == 1 {
                    self.bank = [Some((true, msb)), Some((true, lsb))];
                }
                self.program = Some((true, program, self.bank.map(|half| half.map(|(_, v)| v))));
            }
            0xD => self.pressure = Some((true, wide)),
            0xE => self.bend = Some((true, wide)),
            0xF if b & 1 == 1 => {
                self.per_note.retain(|(note, ..), _| *note != a);
                self.resets.insert(a, u32::try_from(number).unwrap());
            }
            _ => {}
        }
    }

    fn note_on(&mut self, note: u8, value: Value) {
        self.notes.insert(note, value);
        self.pressed.remove(&note);
    }

    fn note_off(&mut self, note: u8) {
        self.notes.remove(&note);
        self.pressed.remove(&note);
    }

    fn press(&mut self, note: u8, value: Value) {
        if self.notes.contains_key(&note) {
            self.pressed.insert(note, value);
        }
    }

    fn select(&mut self, assignable: bool, msb: Option<u8>, lsb: Option<u8>) {
        let (was_msb, was_lsb) = match self.selection {
            Some((sort, m, l)) if sort == assignable => (m, l),
            _ => (None, None),
        };
        self.selection = Some((assignable, msb.or(was_msb), lsb.or(was_lsb)));
    }

    fn selected(&self) -> Option<(bool, u16)> {
        let (assignable, Some(msb), Some(lsb)) = self.selection? else { return None };
        let both = u16::from(msb) * 128 + u16::from(lsb);
        (both != 127 * 128 + 127).then_some((assignable, both))
    }

    fn enter(&mut self, number: u64, set: impl Fn(Option<u8>) -> (Option<u8>, Option<u8>)) {
        let Some(which) = self.selected() else { return };
        let was = match self.parameters.get(&which) {
            Some((Parameter::Narrow { msb, .. }, _)) => *msb,
            _ => None,
        };
        let (msb, lsb) = set(was);
        self.set_parameter(number, which, Parameter::Narrow { msb, lsb });
    }

    fn set_parameter(&mut self, number: u64, which: (bool, u16), value: Parameter) {
        if self.of == As::Table && !self.parameters.contains_key(&which) {
            while self.parameters.len() >= 32 {
                let oldest = self.parameters.iter().min_by_key(|(_, (_, set))| *set);
                let oldest = *oldest.unwrap().0;
                self.parameters.remove(&oldest);
            }
        }
        self.parameters.insert(which, (value, number));
    }

    fn step_selected(&mut self) {
        if let Some(which) = self.selected() {
            self.step(which);
        }
    }

    fn step(&mut self, which: (bool, u16)) {
        match self.of {
            As::Table => drop(self.parameters.remove(&which)),
            As::Device => {
                let moved = Parameter::Narrow { msb: Some(99), lsb: Some(99) };
                self.parameters.insert(which, (moved, 0));
            }
        }
    }

    fn mode(&mut self, midi2: bool, controller: u8) {
        match controller {
            121 => self.reset(midi2),
            122 => {}
            _ => {
                self.notes.clear();
                self.pressed.clear();
            }
        }
    }

    fn reset(&mut self, midi2: bool) {
        let always = self.of == As::Device;
        let full = if midi2 { u32::MAX } else { 127 };
        for (coarse, value) in [(1, 0), (11, full)] {
            let had = self.controllers.contains_key(&coarse)
                || self.controllers.contains_key(&(coarse + 32));
            self.controllers.remove(&(coarse + 32));
            if had || always {
                self.controllers.insert(coarse, (midi2, value));
            }
        }
        for pedal in [64, 65, 66, 67, 69] {
            if self.controllers.contains_key(&pedal) || always {
                self.controllers.insert(pedal, (midi2, 0));
            }
        }
        if self.bend.is_some() || always {
            self.bend = Some((midi2, if midi2 { 1 << 31 } else { 1 << 13 }));
        }
        if self.pressure.is_some() || always {
            self.pressure = Some((midi2, 0));
        }
        if self.selection.is_some() || always {
            self.selection = Some((false, Some(127), Some(127)));
        }
        for value in self.pressed.values_mut() {
            *value = (midi2, 0);
        }
    }

    /// What a table must hold of this channel.
    pub(super) fn entries(&self) -> BTreeMap<(Kind, u16), Value> {
        let mut all = BTreeMap::new();
        let halves = |msb: Option<u8>, lsb: Option<u8>| {
            let mut bits = u32::from(msb.unwrap_or(0)) * 128 + u32::from(lsb.unwrap_or(0));
            bits += if lsb.is_some() { 0x4000 } else { 0 };
            bits + if msb.is_some() { 0x8000 } else { 0 }
        };
        let mut put = |kind, index: u16, value| assert_eq!(all.insert((kind, index), value), None);
        if let Some((midi2, program, [msb, lsb])) = self.program {
            put(Kind::Program, 0, (midi2, u32::from(program) * 0x1_0000 + halves(msb, lsb)));
        }
        for (index, half) in [(0, self.bank[0]), (32, self.bank[1])] {
            half.into_iter().for_each(|(m, v)| put(Kind::Bank, index, (m, v.into())));
        }
        self.controllers.iter().for_each(|(c, v)| put(Kind::Controller, (*c).into(), *v));
        for ((assignable, number), (value, _)) in &self.parameters {
            let kind = if *assignable { Kind::Assignable } else { Kind::Registered };
            let value = match *value {
                Parameter::Narrow { msb, lsb } => (false, halves(msb, lsb)),
                Parameter::Wide(v) => (true, v),
            };
            put(kind, *number, value);
        }
        if let Some((assignable, msb, lsb)) = self.selection {
            put(Kind::Selection, 0, (false, u32::from(assignable) * 0x1_0000 + halves(msb, lsb)));
        }
        self.pressure.into_iter().for_each(|v| put(Kind::ChannelPressure, 0, v));
        self.bend.into_iter().for_each(|v| put(Kind::Bend, 0, v));
        self.resets.iter().for_each(|(n, v)| put(Kind::PerNoteReset, (*n).into(), (true, *v)));
        for ((note, sort, controller), value) in &self.per_note {
            let (note, controller) = (u16::from(*note), u16::from(*controller));
            match sort {
                0 => put(Kind::PerNoteRegistered, note * 256 + controller, (true, *value)),
                1 => put(Kind::PerNoteAssignable, note * 256 + controller, (true, *value)),
                _ => put(Kind::PerNoteBend, note, (true, *value)),
            }
        }
        self.notes.iter().for_each(|(n, v)| put(Kind::Note, (*n).into(), *v));
        self.pressed.iter().for_each(|(n, v)| put(Kind::PolyPressure, (*n).into(), *v));
        all
    }
}
