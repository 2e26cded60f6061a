//! SysEx of eight bits and mixed data sets, M2-104-UM § 7.8 and 7.9.

use core::fmt;

use super::{Raw, View};
use crate::sysex7::Part;

/// The stream and the bytes of one packet: 0 to 13 of eight bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sysex8 {
    stream: u8,
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Sysex8 {
    /// The most bytes of one packet.
    pub const MAX: usize = 13;

    /// These bytes in this stream; `None` when they are more than 13.
    #[must_use]
    pub fn new(stream: u8, data: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Self { stream, bytes, len: u8::try_from(data.len()).ok()? })
    }

    /// Which of the messages under way at once.
    #[must_use]
    pub const fn stream(&self) -> u8 {
        self.stream
    }

    /// The bytes.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(super) fn raw(self, group: u8, part: Part) -> Raw {
        let mut raw = [0; 16];
        // The count includes the stream id.
        raw[..3].copy_from_slice(&[
            0x50 | (group & 0xF),
            ((part as u8) << 4) | (self.len + 1),
            self.stream,
        ]);
        raw[3..].copy_from_slice(&self.bytes);
        raw
    }
}

impl fmt::Debug for Sysex8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sysex8").field("stream", &self.stream).field("data", &self.data()).finish()
    }
}

/// What a chunk of a mixed data set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixedDataSetHeader {
    /// The bytes of this chunk that count.
    pub bytes: u16,
    /// How many chunks there are; 0: not known.
    pub chunks: u16,
    /// Which chunk this is, from 1.
    pub chunk: u16,
    /// Who defines the data.
    pub manufacturer: u16,
    /// For which device.
    pub device: u16,
    /// What the data are.
    pub sub_id1: u16,
    /// What the data are, further.
    pub sub_id2: u16,
}

impl MixedDataSetHeader {
    fn read(raw: &Raw) -> Self {
        let at = |i: usize| u16::from_be_bytes([raw[i], raw[i + 1]]);
        Self {
            bytes: at(2),
            chunks: at(4),
            chunk: at(6),
            manufacturer: at(8),
            device: at(10),
            sub_id1: at(12),
            sub_id2: at(14),
        }
    }

    pub(super) fn raw(self, group: u8, id: u8) -> Raw {
        let words = [
            self.bytes,
            self.chunks,
            self.chunk,
            self.manufacturer,
            self.device,
            self.sub_id1,
            self.sub_id2,
        ];
        let mut data = [0; 14];
        for (pair, word) in data.chunks_exact_mut(2).zip(words) {
            pair.copy_from_slice(&word.to_be_bytes());
        }
        with_head(group, 0x80 | (id & 0xF), data)
    }
}

pub(super) fn payload_raw(group: u8, id: u8, data: [u8; 14]) -> Raw {
    with_head(group, 0x90 | (id & 0xF), data)
}

fn with_head(group: u8, status: u8, data: [u8; 14]) -> Raw {
    let mut raw = [0; 16];
    raw[..2].copy_from_slice(&[0x50 | (group & 0xF), status]);
    raw[2..].copy_from_slice(&data);
    raw
}

pub(super) fn read(group: u8, raw: &Raw) -> Option<View> {
    let [_, status, data @ ..] = *raw;
    let (kind, low) = (status >> 4, status & 0xF);
    match kind {
        8 => {
            let header = MixedDataSetHeader::read(raw);
            Some(View::MixedDataSetHeader { group, id: low, header })
        }
        9 => Some(View::MixedDataSetPayload { group, id: low, data }),
        _ => {
            let part = Part::from_number(kind)?;
            let [stream, bytes @ ..] = data;
            let used = bytes.get(..usize::from(low.checked_sub(1)?))?;
            Some(View::Sysex8 { group, part, message: Sysex8::new(stream, used)? })
        }
    }
}
