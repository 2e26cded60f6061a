//! Messages as MIDI 1.0 bytes, for backends that know nothing newer.

use midip2p_midi::Ump;
use midip2p_midi::bytes::{Bytes, Writer};
use midip2p_midi::translate::ToMidi1;

/// The most messages of MIDI 1.0 that one of MIDI 2.0 becomes: an (N)RPN, four controllers.
const FORMS_MAX: usize = ToMidi1::MAX;

/// The MIDI 1.0 messages that one message stands for; reads as a slice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forms {
    all: [Bytes; FORMS_MAX],
    len: usize,
}

impl Forms {
    /// The messages, in order; none when MIDI 1.0 cannot say it.
    pub(crate) fn as_slice(&self) -> &[Bytes] {
        &self.all[..self.len]
    }

    fn push(&mut self, message: Ump) {
        if let (Ok(bytes), Some(place)) =
            (Writer::new().write(&message), self.all.get_mut(self.len))
        {
            *place = bytes;
            self.len += 1;
        }
    }
}

/// The bytes of `message`: as it is, or translated when it is a channel message of MIDI 2.0.
pub(crate) fn forms(message: Ump) -> Forms {
    let mut forms = Forms::default();
    ToMidi1::new().push(message, &mut |one| forms.push(one));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<Vec<u8>> {
        let message = Ump::from_words(words).unwrap();
        forms(message).as_slice().iter().map(|b| b.to_vec()).collect()
    }

    #[test]
    fn messages_of_midi_1_stay_and_those_of_midi_2_are_translated() {
        assert_eq!(bytes(&[0x2590_3C64]), [[0x90, 0x3C, 0x64]]);
        assert_eq!(bytes(&[0x10F8_0000]), [[0xF8]]);
        assert_eq!(bytes(&[0x4090_3C00, 0xFFFF_0000]), [[0x90, 0x3C, 0x7F]]);
        // An RPN is four controllers, a program with its bank three messages.
        assert_eq!(bytes(&[0x4021_0001, 0x8000_0000]).len(), 4);
        assert_eq!(bytes(&[0x40C0_0001, 0x0500_7903]).len(), 3);
    }

    #[test]
    fn what_midi_1_cannot_say_has_no_form_and_nothing_has_too_many() {
        assert!(bytes(&[0x0000_0000]).is_empty());
        for status in 0..=0xFF_u32 {
            for index in [0, 6, 38, 98, 101, 127] {
                let words = [0x4000_0000 | status << 16 | index << 8 | 1, 0x1234_5678];
                let mut count = 0;
                ToMidi1::new().push(Ump::from_words(&words).unwrap(), &mut |_| count += 1);
                assert!(count <= FORMS_MAX);
                assert_eq!(bytes(&words).len(), count, "{words:x?}");
            }
        }
    }
}
