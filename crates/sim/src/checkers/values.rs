//! On its way through the music a device never has a value that its source's never had, nor an old one
//! after a newer one.
//!
//! Where the other checker looks at messages, this one looks at what they do: a data entry that comes
//! without the controllers that select its parameter sets another one, though it was sent.

use std::collections::BTreeMap;

use super::sent::Source;
use crate::device::{Change, Key, What};

/// How far each value has come along the history of its source.
#[derive(Debug, Default)]
pub struct Values {
    at: BTreeMap<Key, usize>,
}

impl Values {
    /// A message of the source changed a device so.
    ///
    /// # Errors
    /// Which value the source's device never had, or no more.
    pub fn changed(&mut self, changes: &[Change], source: &Source) -> Result<(), String> {
        for (key, value) in changes.iter().filter(|(key, _)| Self::looks_at(key)) {
            let all = source.history.get(key).map_or(&[][..], Vec::as_slice);
            let at = self.at.entry(*key).or_default();
            match all[*at..].iter().position(|v| v == value) {
                // It may be set to the same again: by a snapshot.
                Some(ahead) => *at += ahead,
                None if all.contains(value) => {
                    return Err(format!(
                        "{key:?} became {value:?}, an old value, after a newer one"
                    ));
                }
                None => return Err(format!("{key:?} became {value:?}, which it never was")),
            }
        }
        Ok(())
    }

    /// Notes are the other checkers' business, and what is half selected means nothing yet. A program
    /// goes with whatever bank a device has at that moment.
    const fn looks_at((_, _, what): &Key) -> bool {
        !matches!(what, What::Note(_) | What::NotePressure(_) | What::Selected | What::Program)
    }
}
