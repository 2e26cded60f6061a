//! UMP Stream: who an endpoint is and what it can, M2-104-UM § 7.1.

use super::{Raw, from_lsb_first, lsb_first};
use crate::sysex7::Part;

/// A message between two endpoints, for no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Asks who is there.
    EndpointDiscovery {
        /// The version of the packet format that the asker speaks, major and minor.
        ump_version: (u8, u8),
        /// What it wants to hear.
        requests: Requests,
    },
    /// What an endpoint can.
    EndpointInfo(EndpointInfo),
    /// Which device it is. All bytes have seven bits.
    DeviceIdentity {
        /// The maker, as in a SysEx.
        manufacturer: [u8; 3],
        /// The family; 14 bits.
        family: u16,
        /// The model; 14 bits.
        model: u16,
        /// The version of its software.
        version: [u8; 4],
    },
    /// Its name, 14 bytes at a time.
    EndpointName {
        /// Which piece.
        part: Part,
        /// Text in UTF-8, filled up with zeros.
        bytes: [u8; 14],
    },
    /// Its serial number or the like, 14 bytes at a time.
    ProductInstanceId {
        /// Which piece.
        part: Part,
        /// Text in ASCII, filled up with zeros.
        bytes: [u8; 14],
    },
    /// Asks for a protocol.
    ConfigurationRequest {
        /// 1: MIDI 1.0, 2: MIDI 2.0.
        protocol: u8,
        /// Whether to use time stamps of jitter reduction.
        jr: Jr,
    },
    /// The protocol from here on.
    Configuration {
        /// 1: MIDI 1.0, 2: MIDI 2.0.
        protocol: u8,
        /// Whether time stamps of jitter reduction are used.
        jr: Jr,
    },
    /// Asks for a function block.
    FunctionBlockDiscovery {
        /// Which; 255: all.
        block: u8,
        /// Whether its info is wanted.
        info: bool,
        /// Whether its name is wanted.
        name: bool,
    },
    /// What a function block is.
    FunctionBlockInfo(FunctionBlock),
    /// The name of a function block, 13 bytes at a time.
    FunctionBlockName {
        /// Which piece.
        part: Part,
        /// Which block.
        block: u8,
        /// Text in UTF-8, filled up with zeros.
        bytes: [u8; 13],
    },
    /// A clip begins.
    StartOfClip,
    /// A clip ends.
    EndOfClip,
}

/// What one wants to hear of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// What it can.
    pub endpoint_info: bool,
    /// Which device it is.
    pub device_identity: bool,
    /// Its name.
    pub endpoint_name: bool,
    /// Its serial number.
    pub product_instance_id: bool,
    /// Its protocol.
    pub stream_configuration: bool,
}

/// What an endpoint can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointInfo {
    /// The version of the packet format, major and minor.
    pub ump_version: (u8, u8),
    /// How many function blocks it has; 7 bits.
    pub function_blocks: u8,
    /// Whether they stay as they are.
    pub static_function_blocks: bool,
    /// Whether it speaks MIDI 2.0.
    pub midi2_protocol: bool,
    /// Whether it speaks MIDI 1.0.
    pub midi1_protocol: bool,
    /// What it knows of time stamps.
    pub jr: Jr,
}

/// Time stamps of jitter reduction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jr {
    /// Received.
    pub receive: bool,
    /// Sent.
    pub send: bool,
}

/// What a function block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionBlock {
    /// Which; 7 bits.
    pub block: u8,
    /// Whether it is in use.
    pub active: bool,
    /// Which way messages go.
    pub direction: Direction,
    /// Its first group, 0–15.
    pub first_group: u8,
    /// How many groups it has.
    pub groups: u8,
    /// How to show it.
    pub ui_hint: UiHint,
    /// Whether it is a MIDI 1.0 port.
    pub midi1: Midi1Port,
    /// The version of MIDI-CI; 0: none.
    pub ci_version: u8,
    /// How many SysEx of eight bits may be under way at once.
    pub sysex8_streams: u8,
}

/// Which way messages go, seen from the function block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// To it.
    Input = 1,
    /// From it.
    Output = 2,
    /// Both ways.
    Bidirectional = 3,
}

/// How a function block should be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum UiHint {
    /// Not said.
    #[default]
    Undeclared = 0,
    /// Mostly as a receiver.
    Receiver = 1,
    /// Mostly as a sender.
    Sender = 2,
    /// As both.
    Both = 3,
}

/// Whether a function block is a MIDI 1.0 port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Midi1Port {
    /// It is not.
    #[default]
    No = 0,
    /// It is, without a limit of its bandwidth.
    Unrestricted = 1,
    /// It is, at 31,250 baud.
    Restricted = 2,
}

impl Stream {
    pub(super) fn read(raw: &Raw) -> Option<Self> {
        let [head, status, a, b, ..] = *raw;
        let part = Part::from_number(head >> 2 & 3)?;
        let jr = Jr { receive: b & 2 != 0, send: b & 1 != 0 };
        Some(match u16::from_be_bytes([head & 3, status]) {
            0x00 => {
                let requests = Requests::read(raw[7]);
                Self::EndpointDiscovery { ump_version: (a, b), requests }
            }
            0x01 => Self::EndpointInfo(EndpointInfo::read(raw)),
            0x02 => Self::DeviceIdentity {
                manufacturer: [raw[5], raw[6], raw[7]].map(|b| b & 0x7F),
                family: from_lsb_first(raw[8], raw[9]),
                model: from_lsb_first(raw[10], raw[11]),
                version: [raw[12], raw[13], raw[14], raw[15]].map(|b| b & 0x7F),
            },
            0x03 => Self::EndpointName { part, bytes: tail(raw) },
            0x04 => Self::ProductInstanceId { part, bytes: tail(raw) },
            0x05 => Self::ConfigurationRequest { protocol: a, jr },
            0x06 => Self::Configuration { protocol: a, jr },
            0x10 => Self::FunctionBlockDiscovery { block: a, info: b & 1 != 0, name: b & 2 != 0 },
            0x11 => Self::FunctionBlockInfo(FunctionBlock::read(raw)?),
            0x12 => Self::FunctionBlockName { part, block: a, bytes: tail(raw) },
            0x20 => Self::StartOfClip,
            0x21 => Self::EndOfClip,
            _ => return None,
        })
    }

    pub(super) fn raw(self) -> Raw {
        match self {
            Self::EndpointDiscovery { ump_version: (major, minor), requests } => {
                stream(Part::Complete, 0x00, &[major, minor, 0, 0, 0, requests.byte()])
            }
            Self::EndpointInfo(info) => stream(Part::Complete, 0x01, &info.data()),
            Self::DeviceIdentity { manufacturer, family, model, version } => {
                let [m0, m1, m2] = manufacturer.map(|b| b & 0x7F);
                let [f0, f1] = lsb_first(family);
                let [n0, n1] = lsb_first(model);
                let [v0, v1, v2, v3] = version.map(|b| b & 0x7F);
                let data = [0, 0, 0, m0, m1, m2, f0, f1, n0, n1, v0, v1, v2, v3];
                stream(Part::Complete, 0x02, &data)
            }
            Self::EndpointName { part, bytes } => stream(part, 0x03, &bytes),
            Self::ProductInstanceId { part, bytes } => stream(part, 0x04, &bytes),
            Self::ConfigurationRequest { protocol, jr } => {
                stream(Part::Complete, 0x05, &[protocol, jr.byte()])
            }
            Self::Configuration { protocol, jr } => {
                stream(Part::Complete, 0x06, &[protocol, jr.byte()])
            }
            Self::FunctionBlockDiscovery { block, info, name } => {
                let filter = u8::from(info) | (u8::from(name) << 1);
                stream(Part::Complete, 0x10, &[block, filter])
            }
            Self::FunctionBlockInfo(block) => stream(Part::Complete, 0x11, &block.data()),
            Self::FunctionBlockName { part, block, bytes } => {
                let mut data = [block; 14];
                data[1..].copy_from_slice(&bytes);
                stream(part, 0x12, &data)
            }
            Self::StartOfClip => stream(Part::Complete, 0x20, &[]),
            Self::EndOfClip => stream(Part::Complete, 0x21, &[]),
        }
    }
}

fn stream(part: Part, status: u8, data: &[u8]) -> Raw {
    let mut raw = [0; 16];
    raw[..2].copy_from_slice(&[0xF0 | ((part as u8) << 2), status]);
    raw[2..2 + data.len()].copy_from_slice(data);
    raw
}

/// The last bytes of a packet.
fn tail<const N: usize>(raw: &Raw) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&raw[16 - N..]);
    bytes
}

impl Requests {
    const fn read(byte: u8) -> Self {
        Self {
            endpoint_info: byte & 1 != 0,
            device_identity: byte & 2 != 0,
            endpoint_name: byte & 4 != 0,
            product_instance_id: byte & 8 != 0,
            stream_configuration: byte & 16 != 0,
        }
    }

    fn byte(self) -> u8 {
        let flags = [
            self.endpoint_info,
            self.device_identity,
            self.endpoint_name,
            self.product_instance_id,
            self.stream_configuration,
        ];
        flags.into_iter().rev().fold(0, |all, flag| (all << 1) | u8::from(flag))
    }
}

impl Jr {
    fn byte(self) -> u8 {
        (u8::from(self.receive) << 1) | u8::from(self.send)
    }
}

impl EndpointInfo {
    fn read(raw: &Raw) -> Self {
        Self {
            ump_version: (raw[2], raw[3]),
            function_blocks: raw[4] & 0x7F,
            static_function_blocks: raw[4] & 0x80 != 0,
            midi2_protocol: raw[6] & 2 != 0,
            midi1_protocol: raw[6] & 1 != 0,
            jr: Jr { receive: raw[7] & 2 != 0, send: raw[7] & 1 != 0 },
        }
    }

    fn data(self) -> [u8; 6] {
        let (major, minor) = self.ump_version;
        let blocks = (u8::from(self.static_function_blocks) << 7) | (self.function_blocks & 0x7F);
        let protocols = (u8::from(self.midi2_protocol) << 1) | u8::from(self.midi1_protocol);
        [major, minor, blocks, 0, protocols, self.jr.byte()]
    }
}

impl FunctionBlock {
    fn read(raw: &Raw) -> Option<Self> {
        Some(Self {
            block: raw[2] & 0x7F,
            active: raw[2] & 0x80 != 0,
            direction: match raw[3] & 3 {
                1 => Direction::Input,
                2 => Direction::Output,
                3 => Direction::Bidirectional,
                _ => return None,
            },
            first_group: raw[4] & 0xF,
            groups: raw[5],
            ui_hint: match raw[3] >> 4 & 3 {
                1 => UiHint::Receiver,
                2 => UiHint::Sender,
                3 => UiHint::Both,
                _ => UiHint::Undeclared,
            },
            midi1: match raw[3] >> 2 & 3 {
                0 => Midi1Port::No,
                1 => Midi1Port::Unrestricted,
                2 => Midi1Port::Restricted,
                _ => return None,
            },
            ci_version: raw[6],
            sysex8_streams: raw[7],
        })
    }

    fn data(self) -> [u8; 6] {
        let flags = ((self.ui_hint as u8) << 4) | ((self.midi1 as u8) << 2) | self.direction as u8;
        [
            (u8::from(self.active) << 7) | (self.block & 0x7F),
            flags,
            self.first_group & 0xF,
            self.groups,
            self.ci_version,
            self.sysex8_streams,
        ]
    }
}
