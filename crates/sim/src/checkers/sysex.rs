//! A SysEx comes whole or not at all, and nothing stands inside it but real-time messages.

use midip2p_proto::midi::sysex7::{self, Part};
use midip2p_proto::midi::{MessageType, Ump};

/// What an output is being written.
#[derive(Debug, Default)]
pub struct Whole {
    /// The group whose SysEx is being written, and its bytes.
    pub open: Option<(u8, Vec<u8>)>,
    /// Whether what follows may be the rest of one whose beginning is not looked at.
    headless: bool,
}

impl Whole {
    /// What is being written may end unfinished, or go on: it is not looked at.
    pub fn may_be_cut(&mut self) {
        self.headless |= self.open.take().is_some();
    }

    /// A packet was heard: the SysEx that it ends, if it ends one.
    ///
    /// # Errors
    /// That it stands where it may not.
    pub fn heard(&mut self, packet: &Ump) -> Result<Option<Vec<u8>>, String> {
        let group = packet.group().unwrap_or(0);
        if let Some((part, bytes)) = sysex7::payload(packet) {
            return self.part(group, part, &bytes);
        }
        let is_real_time = packet.message_type() == MessageType::System && packet.status() >= 0xF8;
        match &self.open {
            Some((inside, _)) if !is_real_time => {
                Err(format!("{packet:?} stands inside a SysEx of source {inside}"))
            }
            _ => Ok(None),
        }
    }

    fn part(&mut self, group: u8, part: Part, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match (&mut self.open, part.begins()) {
            (Some((inside, _)), true) => {
                return Err(format!("a SysEx begins inside one of source {inside}"));
            }
            (None, false) if self.headless => {
                self.headless = !part.ends();
                return Ok(None);
            }
            (None, false) => return Err(format!("{part:?} of a SysEx that did not begin")),
            (Some((inside, _)), false) if *inside != group => {
                return Err(format!("a SysEx of {group} goes on inside one of source {inside}"));
            }
            (Some((_, all)), false) => all.extend_from_slice(bytes),
            (None, true) => {
                self.headless = false;
                self.open = Some((group, bytes.to_vec()));
            }
        }
        Ok(if part.ends() { self.open.take().map(|(_, whole)| whole) } else { None })
    }
}
