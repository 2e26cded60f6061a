//! The one table: every typed form, its keys in canonical order, and where their bits are.
//!
//! A row is a pattern and its fields. Bits that belong to no field have to equal the pattern, so a
//! packet fits a row only when the row's keys say all of it: this is how a typed form is known to
//! give back the identical bits. Positions count from the first bit of the packet, as the drawings of
//! M2-104-UM do: bits 0–3 are the message type, 4–7 the group.

use crate::ump::{MessageType, Ump};

/// One typed form.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The value of `type`.
    pub name: &'static str,
    /// The value of `midi`, 1 or 2; 1 is left out.
    pub midi: u8,
    /// The keys after `type` and `midi`, in canonical order; `time`, `port` and `from` follow.
    pub fields: &'static [Field],
    pattern: u128,
    /// The bits that have to equal the pattern: all that belong to no field.
    fixed: u128,
}

/// One key of a typed form.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Where the value begins, counted from the first bit of the packet.
    first: u8,
    /// How many bits it has.
    width: u8,
}

/// What the value of a key looks like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An integer from 0.
    Number,
    /// An integer that counts from 1 while the wire counts from 0; left out when 1, if so said.
    FromOne {
        /// Whether 1 is left out.
        optional: bool,
    },
    /// An integer from 0 that is left out when 0.
    Optional,
    /// An integer in two's complement.
    Signed,
    /// As [`Signed`](Kind::Signed), left out when 0.
    OptionalSigned,
    /// 14 bits in two bytes of seven, the lower ones first.
    LsbFirst,
    /// An integer that is there only when the bit at this position is set.
    When(u8),
    /// `true`, or left out.
    Flag,
    /// One of these words, by its place; an empty one is reserved.
    Word(&'static [&'static str]),
    /// As [`Word`](Kind::Word), the first one left out.
    OptionalWord(&'static [&'static str]),
    /// The channel of a Flex Data message; left out when it is meant for the group.
    FlexChannel,
    /// Bytes in hexadecimal, as many as the form has.
    Hex {
        /// Whether the bytes have seven bits.
        seven: bool,
    },
    /// Up to so many bytes in hexadecimal as there is room for, counted in four bits.
    Counted {
        /// Where the count begins.
        count: u8,
        /// What the count says beyond the number of bytes.
        more: u8,
        /// Whether the bytes have seven bits.
        seven: bool,
    },
    /// Text in UTF-8, filled up with zeros. Where a packet ends within a character the bytes are no
    /// text: then the key is [`TEXT_AS_BYTES`] and the value hexadecimal.
    Text,
}

/// Stands in for the key of a [`Kind::Text`] that is not UTF-8.
pub const TEXT_AS_BYTES: &str = "data";

/// The words for the part of a message that a packet is.
pub const PARTS: &[&str] = &["complete", "start", "continue", "end"];

const TONICS: &[&str] = &["none", "A", "B", "C", "D", "E", "F", "G"];
const UI_HINTS: &[&str] = &["undeclared", "receiver", "sender", "both"];
const MIDI1_PORTS: &[&str] = &["no", "unrestricted", "restricted"];
const DIRECTIONS: &[&str] = &["", "input", "output", "bidirectional"];

impl Row {
    const fn new(name: &'static str, midi: u8, first: u32, fields: &'static [Field]) -> Self {
        let (mut free, mut i) = (0, 0);
        while i < fields.len() {
            free |= fields[i].mask();
            i += 1;
        }
        Self { name, midi, fields, pattern: (first as u128) << 96, fixed: !free }
    }

    /// The bits that are the same for all messages of this form.
    pub(crate) const fn pattern(&self) -> u128 {
        self.pattern
    }

    /// Whether this form says every bit of a packet with these bits.
    pub(super) fn fits(&self, bits: u128) -> bool {
        bits & self.fixed == self.pattern && self.fields.iter().all(|f| f.read(bits).is_some())
    }
}

impl Field {
    const fn new(key: &'static str, kind: Kind, first: u8, width: u8) -> Self {
        Self { key, kind, first, width }
    }

    pub(super) const fn width(&self) -> u32 {
        self.width as u32
    }

    pub(super) const fn shift(&self) -> u32 {
        128 - self.first as u32 - self.width as u32
    }

    /// The bits that this key says.
    pub(crate) const fn mask(&self) -> u128 {
        let all = if self.width == 128 { u128::MAX } else { (1 << self.width) - 1 };
        match self.kind {
            Kind::LsbFirst => 0x7F7F << self.shift(),
            Kind::When(flag) => (all << self.shift()) | bit(flag),
            Kind::Counted { count, .. } => (all << self.shift()) | (0xF << (124 - count)),
            _ => all << self.shift(),
        }
    }
}

/// The bit at this position, counted from the first bit of the packet.
pub(super) const fn bit(position: u8) -> u128 {
    1 << (127 - position)
}

/// The typed form that says every bit of the packet; `None` when only `ump` does.
#[must_use]
pub fn row_of(packet: &Ump) -> Option<&'static Row> {
    let bits = packet.bits();
    rows(packet.message_type()).iter().find(|row| row.fits(bits))
}

/// The typed form of this name and version of MIDI.
#[must_use]
pub fn row_named(name: &str, midi: u8) -> Option<&'static Row> {
    all_rows().find(|row| row.midi == midi && row.name == name)
}

/// Every typed form.
pub fn all_rows() -> impl Iterator<Item = &'static Row> {
    MessageType::ALL.into_iter().flat_map(rows)
}

/// The typed forms of a message type; none for types that are reserved.
#[must_use]
pub const fn rows(message_type: MessageType) -> &'static [Row] {
    match message_type {
        MessageType::Utility => UTILITY,
        MessageType::System => SYSTEM,
        MessageType::Midi1Voice => MIDI1,
        MessageType::Sysex7 => SYSEX7,
        MessageType::Midi2Voice => MIDI2,
        MessageType::Sysex8 => SYSEX8,
        MessageType::FlexData => FLEX,
        MessageType::Stream => STREAM,
        _ => &[],
    }
}

const GROUP: Field = Field::new("group", Kind::FromOne { optional: true }, 4, 4);
const CHANNEL: Field = Field::new("channel", Kind::FromOne { optional: false }, 12, 4);
const NOTE: Field = number("note", 17, 7);
const INDEX: Field = number("index", 25, 7);
const BANK: Field = number("bank", 17, 7);
const VALUE32: Field = number("value", 32, 32);
const FLEX_CHANNEL: Field = Field::new("channel", Kind::FlexChannel, 10, 6);
const FLEX_PART: Field = Field::new("part", Kind::Word(PARTS), 8, 2);
const STREAM_PART: Field = Field::new("part", Kind::Word(PARTS), 4, 2);
const SYSEX_PART: Field = Field::new("part", Kind::Word(PARTS), 8, 4);

const fn number(key: &'static str, first: u8, width: u8) -> Field {
    Field::new(key, Kind::Number, first, width)
}

const fn optional(key: &'static str, first: u8, width: u8) -> Field {
    Field::new(key, Kind::Optional, first, width)
}

const fn flag(key: &'static str, at: u8) -> Field {
    Field::new(key, Kind::Flag, at, 1)
}

const fn text(first: u8) -> Field {
    Field::new("text", Kind::Text, first, 128 - first)
}

static UTILITY: &[Row] = &[
    Row::new("noop", 1, 0x0000_0000, &[]),
    Row::new("jrClock", 1, 0x0010_0000, &[number("ticks", 16, 16)]),
    Row::new("jrTimestamp", 1, 0x0020_0000, &[number("ticks", 16, 16)]),
    Row::new("ticksPerQuarterNote", 1, 0x0030_0000, &[number("ticks", 16, 16)]),
    Row::new("deltaClockstamp", 1, 0x0040_0000, &[number("ticks", 12, 20)]),
];

static SYSTEM: &[Row] = &[
    Row::new("timecode", 1, 0x10F1_0000, &[GROUP, number("value", 17, 7)]),
    Row::new("songPosition", 1, 0x10F2_0000, &[GROUP, lsb_first("value", 16)]),
    Row::new("songSelect", 1, 0x10F3_0000, &[GROUP, number("value", 17, 7)]),
    Row::new("tuneRequest", 1, 0x10F6_0000, &[GROUP]),
    Row::new("clock", 1, 0x10F8_0000, &[GROUP]),
    Row::new("start", 1, 0x10FA_0000, &[GROUP]),
    Row::new("continue", 1, 0x10FB_0000, &[GROUP]),
    Row::new("stop", 1, 0x10FC_0000, &[GROUP]),
    Row::new("activeSensing", 1, 0x10FE_0000, &[GROUP]),
    Row::new("reset", 1, 0x10FF_0000, &[GROUP]),
];

const fn lsb_first(key: &'static str, first: u8) -> Field {
    Field::new(key, Kind::LsbFirst, first, 16)
}

static MIDI1: &[Row] = &[
    Row::new("noteOff", 1, 0x2080_0000, &[GROUP, CHANNEL, NOTE, number("velocity", 25, 7)]),
    Row::new("noteOn", 1, 0x2090_0000, &[GROUP, CHANNEL, NOTE, number("velocity", 25, 7)]),
    Row::new("keyAftertouch", 1, 0x20A0_0000, &[GROUP, CHANNEL, NOTE, number("value", 25, 7)]),
    Row::new(
        "controlChange",
        1,
        0x20B0_0000,
        &[GROUP, CHANNEL, number("controller", 17, 7), number("value", 25, 7)],
    ),
    Row::new("programChange", 1, 0x20C0_0000, &[GROUP, CHANNEL, number("program", 17, 7)]),
    Row::new("channelAftertouch", 1, 0x20D0_0000, &[GROUP, CHANNEL, number("value", 17, 7)]),
    Row::new("pitchBend", 1, 0x20E0_0000, &[GROUP, CHANNEL, lsb_first("value", 16)]),
];

static SYSEX7: &[Row] = &[Row::new(
    "sysex7",
    1,
    0x3000_0000,
    &[
        GROUP,
        SYSEX_PART,
        Field::new("data", Kind::Counted { count: 12, more: 0, seven: true }, 16, 48),
    ],
)];

const RELATIVE: Field = Field::new("value", Kind::Signed, 32, 32);
const NOTE_FIELDS: &[Field] = &[
    GROUP,
    CHANNEL,
    NOTE,
    number("velocity", 32, 16),
    optional("attributeType", 24, 8),
    optional("attribute", 48, 16),
];
const PER_NOTE: &[Field] = &[GROUP, CHANNEL, NOTE, number("index", 24, 8), VALUE32];

static MIDI2: &[Row] = &[
    Row::new("noteOff", 2, 0x4080_0000, NOTE_FIELDS),
    Row::new("noteOn", 2, 0x4090_0000, NOTE_FIELDS),
    Row::new("keyAftertouch", 2, 0x40A0_0000, &[GROUP, CHANNEL, NOTE, VALUE32]),
    Row::new(
        "controlChange",
        2,
        0x40B0_0000,
        &[GROUP, CHANNEL, number("controller", 17, 7), VALUE32],
    ),
    Row::new(
        "programChange",
        2,
        0x40C0_0000,
        &[
            GROUP,
            CHANNEL,
            number("program", 33, 7),
            Field::new("bankMsb", Kind::When(31), 49, 7),
            Field::new("bankLsb", Kind::When(31), 57, 7),
        ],
    ),
    Row::new("channelAftertouch", 2, 0x40D0_0000, &[GROUP, CHANNEL, VALUE32]),
    Row::new("pitchBend", 2, 0x40E0_0000, &[GROUP, CHANNEL, VALUE32]),
    Row::new("registeredPerNoteController", 2, 0x4000_0000, PER_NOTE),
    Row::new("assignablePerNoteController", 2, 0x4010_0000, PER_NOTE),
    Row::new("registeredController", 2, 0x4020_0000, &[GROUP, CHANNEL, BANK, INDEX, VALUE32]),
    Row::new("assignableController", 2, 0x4030_0000, &[GROUP, CHANNEL, BANK, INDEX, VALUE32]),
    Row::new(
        "relativeRegisteredController",
        2,
        0x4040_0000,
        &[GROUP, CHANNEL, BANK, INDEX, RELATIVE],
    ),
    Row::new(
        "relativeAssignableController",
        2,
        0x4050_0000,
        &[GROUP, CHANNEL, BANK, INDEX, RELATIVE],
    ),
    Row::new("perNotePitchBend", 2, 0x4060_0000, &[GROUP, CHANNEL, NOTE, VALUE32]),
    Row::new(
        "perNoteManagement",
        2,
        0x40F0_0000,
        &[GROUP, CHANNEL, NOTE, flag("detach", 30), flag("reset", 31)],
    ),
];

static SYSEX8: &[Row] = &[
    Row::new(
        "sysex8",
        1,
        0x5000_0000,
        &[
            GROUP,
            SYSEX_PART,
            number("stream", 16, 8),
            Field::new("data", Kind::Counted { count: 12, more: 1, seven: false }, 24, 104),
        ],
    ),
    Row::new(
        "mixedDataSetHeader",
        1,
        0x5080_0000,
        &[
            GROUP,
            number("id", 12, 4),
            number("bytes", 16, 16),
            number("chunks", 32, 16),
            number("chunk", 48, 16),
            number("manufacturer", 64, 16),
            number("device", 80, 16),
            number("subId1", 96, 16),
            number("subId2", 112, 16),
        ],
    ),
    Row::new(
        "mixedDataSetPayload",
        1,
        0x5090_0000,
        &[GROUP, number("id", 12, 4), Field::new("data", Kind::Hex { seven: false }, 16, 112)],
    ),
];

const FLEX_TEXT: &[Field] = &[GROUP, FLEX_CHANNEL, FLEX_PART, text(32)];

static FLEX: &[Row] = &[
    Row::new("tempo", 1, 0xD010_0000, &[GROUP, number("quarterNoteTenNs", 32, 32)]),
    Row::new(
        "timeSignature",
        1,
        0xD010_0001,
        &[
            GROUP,
            number("numerator", 32, 8),
            number("denominatorPower", 40, 8),
            number("thirtySecondNotes", 48, 8),
        ],
    ),
    Row::new(
        "metronome",
        1,
        0xD010_0002,
        &[
            GROUP,
            number("clocksPerClick", 32, 8),
            number("accent1", 40, 8),
            number("accent2", 48, 8),
            number("accent3", 56, 8),
            number("subdivision1", 64, 8),
            number("subdivision2", 72, 8),
        ],
    ),
    Row::new(
        "keySignature",
        1,
        0xD000_0005,
        &[
            GROUP,
            FLEX_CHANNEL,
            Field::new("sharps", Kind::Signed, 32, 4),
            Field::new("tonic", Kind::Word(TONICS), 36, 4),
        ],
    ),
    Row::new(
        "chord",
        1,
        0xD000_0006,
        &[
            GROUP,
            FLEX_CHANNEL,
            Field::new("tonic", Kind::Word(TONICS), 36, 4),
            Field::new("sharps", Kind::OptionalSigned, 32, 4),
            number("chordType", 40, 8),
            optional("alteration1", 48, 4),
            optional("degree1", 52, 4),
            optional("alteration2", 56, 4),
            optional("degree2", 60, 4),
            optional("alteration3", 64, 4),
            optional("degree3", 68, 4),
            optional("alteration4", 72, 4),
            optional("degree4", 76, 4),
            Field::new("bass", Kind::OptionalWord(TONICS), 100, 4),
            Field::new("bassSharps", Kind::OptionalSigned, 96, 4),
            optional("bassType", 104, 8),
            optional("bassAlteration1", 112, 4),
            optional("bassDegree1", 116, 4),
            optional("bassAlteration2", 120, 4),
            optional("bassDegree2", 124, 4),
        ],
    ),
    Row::new("metadataText", 1, 0xD000_0100, FLEX_TEXT),
    Row::new("projectName", 1, 0xD000_0101, FLEX_TEXT),
    Row::new("compositionName", 1, 0xD000_0102, FLEX_TEXT),
    Row::new("midiClipName", 1, 0xD000_0103, FLEX_TEXT),
    Row::new("copyright", 1, 0xD000_0104, FLEX_TEXT),
    Row::new("composer", 1, 0xD000_0105, FLEX_TEXT),
    Row::new("lyricist", 1, 0xD000_0106, FLEX_TEXT),
    Row::new("arranger", 1, 0xD000_0107, FLEX_TEXT),
    Row::new("publisher", 1, 0xD000_0108, FLEX_TEXT),
    Row::new("primaryPerformer", 1, 0xD000_0109, FLEX_TEXT),
    Row::new("accompanyingPerformer", 1, 0xD000_010A, FLEX_TEXT),
    Row::new("recordingDate", 1, 0xD000_010B, FLEX_TEXT),
    Row::new("recordingLocation", 1, 0xD000_010C, FLEX_TEXT),
    Row::new("performanceText", 1, 0xD000_0200, FLEX_TEXT),
    Row::new("lyrics", 1, 0xD000_0201, FLEX_TEXT),
    Row::new("lyricsLanguage", 1, 0xD000_0202, FLEX_TEXT),
    Row::new("ruby", 1, 0xD000_0203, FLEX_TEXT),
    Row::new("rubyLanguage", 1, 0xD000_0204, FLEX_TEXT),
];

const CONFIGURATION: &[Field] =
    &[number("protocol", 16, 8), flag("receiveJr", 30), flag("sendJr", 31)];

static STREAM: &[Row] = &[
    Row::new(
        "endpointDiscovery",
        1,
        0xF000_0000,
        &[
            number("umpMajor", 16, 8),
            number("umpMinor", 24, 8),
            flag("endpointInfo", 63),
            flag("deviceIdentity", 62),
            flag("endpointName", 61),
            flag("productInstanceId", 60),
            flag("streamConfiguration", 59),
        ],
    ),
    Row::new(
        "endpointInfo",
        1,
        0xF001_0000,
        &[
            number("umpMajor", 16, 8),
            number("umpMinor", 24, 8),
            number("functionBlocks", 33, 7),
            flag("staticFunctionBlocks", 32),
            flag("midi2Protocol", 54),
            flag("midi1Protocol", 55),
            flag("receiveJr", 62),
            flag("sendJr", 63),
        ],
    ),
    Row::new(
        "deviceIdentity",
        1,
        0xF002_0000,
        &[
            Field::new("manufacturer", Kind::Hex { seven: true }, 40, 24),
            lsb_first("family", 64),
            lsb_first("model", 80),
            Field::new("version", Kind::Hex { seven: true }, 96, 32),
        ],
    ),
    Row::new("endpointName", 1, 0xF003_0000, &[STREAM_PART, text(16)]),
    Row::new("productInstanceId", 1, 0xF004_0000, &[STREAM_PART, text(16)]),
    Row::new("streamConfigurationRequest", 1, 0xF005_0000, CONFIGURATION),
    Row::new("streamConfiguration", 1, 0xF006_0000, CONFIGURATION),
    Row::new(
        "functionBlockDiscovery",
        1,
        0xF010_0000,
        &[number("block", 16, 8), flag("info", 31), flag("name", 30)],
    ),
    Row::new(
        "functionBlockInfo",
        1,
        0xF011_0000,
        &[
            number("block", 17, 7),
            flag("active", 16),
            Field::new("direction", Kind::Word(DIRECTIONS), 30, 2),
            Field::new("firstGroup", Kind::FromOne { optional: false }, 36, 4),
            number("groups", 40, 8),
            Field::new("uiHint", Kind::OptionalWord(UI_HINTS), 26, 2),
            Field::new("midi1", Kind::OptionalWord(MIDI1_PORTS), 28, 2),
            optional("ciVersion", 48, 8),
            optional("sysex8Streams", 56, 8),
        ],
    ),
    Row::new("functionBlockName", 1, 0xF012_0000, &[STREAM_PART, number("block", 16, 8), text(24)]),
    Row::new("startOfClip", 1, 0xF020_0000, &[]),
    Row::new("endOfClip", 1, 0xF021_0000, &[]),
];
