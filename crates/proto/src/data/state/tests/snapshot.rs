//! A receiver that missed events and got a snapshot, beside one that heard everything.

use super::model::Parameter;
use super::*;

/// A receiver: its table, and the device that played what it was given.
struct Receiver {
    table: StateTable,
    device: Channels,
    /// Whether the note-ons of repairs are too late to be played.
    late: bool,
}

impl Receiver {
    fn hears(&mut self, strand: Strand, number: u64, message: &Ump) {
        self.table.apply(strand, SeqNo::new(number), LocalTime::ZERO, message);
        hear(&mut self.device, As::Device, strand, number, message);
    }

    /// What was set by events after `n`.
    fn newer_than(&mut self, n: u64) -> Vec<Entry> {
        let count = self.table.sort();
        let all = (0..count).filter_map(|at| self.table.sorted(at));
        all.filter(|entry| entry.number > SeqNo::new(n)).collect()
    }

    /// Takes the whole snapshot of `sender` as it was sorted at event `n`.
    fn takes(&mut self, sender: &StateTable, n: u64) {
        let n = SeqNo::new(n);
        for entry in (0..).map_while(|at| sender.sorted(at)) {
            let repair = self.table.confirm(entry, n);
            assert_eq!(repair.iter().count(), repair.len());
            for message in repair.iter().filter(|m| !(self.late && is_note_on(m))) {
                assert_eq!(Strand::of(PortId(0), PortId(0), message).channel, entry.strand.channel);
                hear(&mut self.device, As::Device, entry.strand, n.get(), message);
            }
        }
        while let Some((strand, message)) = self.table.sweep(n) {
            if let Some(message) = message {
                hear(&mut self.device, As::Device, strand, n.get(), &message);
            }
        }
    }
}

/// What a device answers when asked for what `kept` is a value of; unknown halves of `kept` are not
/// asked for, and a half that was never sent is zero.
fn answer(device: &Channel, kind: Kind, index: u16, kept: u32) -> Option<Value> {
    let [high, low] = index.to_be_bytes();
    let per_note = |sort| device.per_note.get(&(high, sort, low)).map(|v| (true, *v));
    let halves = |msb: Option<u8>, lsb: Option<u8>| {
        let ask = |half: Option<u8>, known: u32| {
            if kept >> known & 1 == 1 { u32::from(half.unwrap_or(0)) } else { 0 }
        };
        ask(msb, 15) * 128 + ask(lsb, 14) + (kept & 0xC000)
    };
    match kind {
        Kind::Program => {
            let (midi2, program, [msb, lsb]) = device.program?;
            let bank = u32::from(msb.unwrap_or(0)) * 128 + u32::from(lsb.unwrap_or(0));
            Some((midi2, u32::from(program) << 16 | bank | kept & 0xC000))
        }
        Kind::Bank => device.bank[usize::from(low) / 32].map(|(midi2, v)| (midi2, v.into())),
        Kind::Controller => device.controllers.get(&low).copied(),
        Kind::Registered | Kind::Assignable => {
            match device.parameters.get(&(kind == Kind::Assignable, index))?.0 {
                Parameter::Wide(value) => Some((true, value)),
                Parameter::Narrow { msb, lsb } => Some((false, halves(msb, lsb))),
            }
        }
        Kind::Selection => {
            let (assignable, msb, lsb) = device.selection?;
            Some((false, u32::from(assignable) << 16 | halves(msb, lsb)))
        }
        Kind::ChannelPressure => device.pressure,
        Kind::Bend => device.bend,
        Kind::PerNoteReset => None,
        Kind::PerNoteRegistered => per_note(0),
        Kind::PerNoteAssignable => per_note(1),
        Kind::PerNoteBend => device.per_note.get(&(low, 2, 0)).map(|v| (true, *v)),
        Kind::Note => device.notes.get(&low).copied(),
        Kind::PolyPressure => device.pressed.get(&low).copied(),
    }
}

/// A parameter one half of whose number is 127: what a half-known selection is restored as.
fn is_half_null(kind: Kind, index: u16) -> bool {
    let half = index & 0x7F == 0x7F || index >> 7 == 0x7F;
    half && matches!(kind, Kind::Registered | Kind::Assignable)
}

/// Whether a device is in the state that a table says.
fn agrees(table: &mut StateTable, device: &Channels, late: bool) -> Result<(), TestCaseError> {
    let silent = Channel::new(As::Device);
    for ((strand, kind, index), (midi2, value)) in kept(table) {
        let device = device.get(&strand).unwrap_or(&silent);
        let got = answer(device, kind, index, value);
        match kind {
            Kind::PerNoteReset => continue,
            _ if is_half_null(kind, index) => continue,
            // Too late to be played, or begun anew unheard: another velocity, or silence.
            Kind::Note => prop_assert!(late || got.is_some(), "{} is silent", index),
            Kind::PolyPressure if late && got.is_none() => {}
            // Which message said it does not matter for a bank.
            Kind::Bank | Kind::Program => {
                prop_assert_eq!(got.map(|v| v.1), Some(value), "{:?}", kind)
            }
            _ => prop_assert_eq!(got, Some((midi2, value)), "{:?} {} {:?}", kind, index, strand),
        }
    }
    for (strand, channel) in device {
        for note in channel.notes.keys() {
            prop_assert!(table.is_sounding(*strand, *note), "{} hangs", note);
        }
        for (note, value) in &channel.pressed {
            let kept = table.get(*strand, Kind::PolyPressure, u16::from(*note));
            prop_assert!(kept.is_some() || value.1 == 0, "{} is pressed", note);
        }
    }
    Ok(())
}

/// After a snapshot that is older than what was played already: no note and no pedal is on that is not
/// on where everything was heard.
fn hangs_nowhere(device: &Channels, everything: &Channels) -> Result<(), TestCaseError> {
    for (strand, channel) in device {
        let other = &everything[strand];
        for note in channel.notes.keys() {
            prop_assert!(other.notes.contains_key(note), "{} hangs", note);
        }
        for pedal in [64, 66, 67, 69] {
            let down = |c: &Channel| c.controllers.get(&pedal).is_some_and(|v| v.1 > 0);
            prop_assert!(!down(channel) || down(other), "pedal {} hangs", pedal);
        }
    }
    Ok(())
}

/// A performance of which the receiver misses something: everywhere if `lossy`, else only before the
/// first snapshot. That one is of event `half_way` and comes `delay` events later; at the end another.
fn run(
    messages: &[(Strand, Ump)],
    missed: &[u8],
    half_way: usize,
    delay: usize,
    late: bool,
    lossy: bool,
) -> Result<(), TestCaseError> {
    let mut sender = StateTable::new();
    let mut everything = Channels::new();
    let mut receiver = Receiver { table: StateTable::new(), device: Channels::new(), late };
    for (at, (strand, message)) in messages.iter().enumerate() {
        if at == half_way {
            sender.sort();
        }
        let number = u64::try_from(at + 1).unwrap();
        sender.apply(*strand, SeqNo::new(number), LocalTime::ZERO, message);
        hear(&mut everything, As::Device, *strand, number, message);
        // A pattern that repeats, so that a failure shrinks to something to read.
        let lost = (lossy || at < half_way) && missed[at / 8 % missed.len()] >> (at % 8) & 1 == 1;
        if !lost {
            receiver.hears(*strand, number, message);
        }
        if at == half_way + delay {
            let n = u64::try_from(half_way).unwrap();
            let newer = receiver.newer_than(n);
            receiver.takes(&sender, n);
            for entry in newer {
                let now = receiver.table.get(entry.strand, entry.kind, entry.index);
                let now = now.map(|held| (held.midi2, held.value, held.number));
                let kept = now == Some((entry.midi2, entry.value, entry.number));
                // Pressure may go with its note, if that was begun before and has ended.
                prop_assert!(
                    kept || entry.kind == Kind::PolyPressure,
                    "{:?}, now {:?}",
                    entry,
                    now
                );
            }
            agrees(&mut receiver.table, &receiver.device, late)?;
            if !lossy {
                hangs_nowhere(&receiver.device, &everything)?;
            }
        }
    }
    sender.sort();
    receiver.takes(&sender, u64::try_from(messages.len()).unwrap());
    prop_assert_eq!(kept(&mut receiver.table), kept(&mut sender));
    prop_assert_eq!(receiver.table.digest(), sender.digest());
    agrees(&mut sender, &everything, false)?;
    agrees(&mut sender, &receiver.device, late)?;
    for (strand, channel) in &everything {
        let Some(other) = receiver.device.get(strand) else { continue };
        for note in channel.resets.keys() {
            let of = |c: &Channel| -> BTreeMap<_, _> {
                c.per_note.clone().into_iter().filter(|((n, ..), _)| n == note).collect()
            };
            prop_assert_eq!(of(channel), of(other), "per-note values of {}", note);
        }
    }
    // The same snapshot again finds nothing to do.
    let before = receiver.device.clone();
    receiver.takes(&sender, u64::try_from(messages.len()).unwrap());
    prop_assert_eq!(receiver.device, before);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_snapshot_brings_a_receiver_that_missed_anything_to_the_senders_state(
        messages in performance(120),
        missed in prop::collection::vec(any::<u8>(), 1..20),
        half_way in 0usize..200,
        delay in 0usize..40,
        late in any::<bool>(),
        lossy in any::<bool>(),
    ) {
        run(&messages, &missed, half_way, delay, late, lossy)?;
    }

    #[test]
    fn no_snapshot_however_wrong_breaks_a_table(
        parts in prop::collection::vec(
            (any::<u8>(), any::<u16>(), any::<bool>(), any::<u32>(), 0u8..20, 0u8..20, 0u64..100),
            0..200,
        ),
        messages in performance(20),
    ) {
        let mut table = StateTable::new();
        for ((strand, message), number) in messages.iter().zip(1..) {
            table.apply(*strand, SeqNo::new(number), LocalTime::ZERO, message);
        }
        for (kind, index, midi2, value, group, channel, number) in parts {
            let Ok(kind) = Kind::try_from(kind % 16) else { continue };
            let strand = Strand { from: PortId(1), to: PortId(9), group, channel };
            for (index, value) in [(index, value), (index & 127, value & 127), (0, value & 0x3FFF)] {
                let (number, born) = (SeqNo::new(number), LocalTime::ZERO);
                let entry = Entry { strand, kind, index, midi2, value, number, born };
                let repair = table.confirm(entry, SeqNo::new(50));
                prop_assert!(entry.is_valid() || repair.is_empty());
                prop_assert!(repair.len() <= Repair::MAX);
            }
        }
        kept(&mut table);
        while table.sweep(SeqNo::new(1_000)).is_some() {}
        prop_assert_eq!((table.len(), table.digest()), (0, 0));
    }
}
