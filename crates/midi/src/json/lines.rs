//! Many records: one a line, or a batch in an array.

use super::Record;
use super::decode::record;
use super::error::{DecodeError, Reason};
use super::scan::{Members, Scanner};

/// Reads records one after the other from lines of JSON (NDJSON), from an array, or from both mixed.
///
/// After a fault it goes on at the next line, so one bad line costs one line. Offsets in errors count
/// from the beginning of the text.
///
/// ```
/// use midip2p_midi::json::Reader;
///
/// let mut scratch = [0; 64];
/// let mut reader = Reader::new(b"{\"type\":\"start\"}\nwhat?\n[{\"type\":\"clock\"},{\"type\":\"stop\"}]");
/// let mut seen = Vec::new();
/// while let Some(record) = reader.next(&mut scratch) {
///     seen.push(record.map(|_| ()).map_err(|error| error.offset));
/// }
/// assert_eq!(seen, [Ok(()), Err(17), Ok(()), Ok(())]);
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    /// Behind the opening bracket.
    Opened,
    /// Behind a record of an array.
    Within,
}

impl<'a> Reader<'a> {
    /// A reader of all records in `text`.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, place: Place::Outside }
    }

    /// Where the next record will be looked for, in bytes from the beginning of the text.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// The next record, or what is wrong with it; `None` at the end. `scratch` serves as in
    /// [`decode`](super::decode).
    pub fn next<'s>(&mut self, scratch: &'s mut [u8]) -> Option<Result<Record<'s>, DecodeError>>
    where
        'a: 's,
    {
        let mut scanner = Scanner::new(self.text, self.at);
        let mut members = Members::new();
        match self.advance(&mut scanner, &mut members) {
            Ok(found) => {
                // A record that stands right is passed, whatever it says.
                self.at = scanner.at;
                found.then(|| record(&members, scratch))
            }
            Err(error) => {
                self.skip_line();
                Some(Err(error))
            }
        }
    }

    /// Goes to the next object and reads it; answers whether there was one.
    fn advance(
        &mut self,
        scanner: &mut Scanner<'a>,
        members: &mut Members<'a>,
    ) -> Result<bool, DecodeError> {
        loop {
            let ended = scanner.at_end();
            // Where the record begins, or what stands in its place.
            self.at = scanner.at;
            if ended {
                let whole = self.place == Place::Outside;
                return if whole { Ok(false) } else { Err(scanner.fault(Reason::EndOfText)) };
            }
            match (self.place, scanner.peek()) {
                (Place::Outside, Some(b'[')) => {
                    scanner.at += 1;
                    self.place = Place::Opened;
                }
                (Place::Opened | Place::Within, Some(b']')) => {
                    scanner.at += 1;
                    self.place = Place::Outside;
                }
                (Place::Within, Some(b',')) => {
                    scanner.at += 1;
                    scanner.skip_space();
                    self.at = scanner.at;
                    return scanner.object(members).map(|()| true);
                }
                (Place::Within, _) => return Err(scanner.expected("a comma or a closing bracket")),
                (Place::Opened, _) => {
                    self.place = Place::Within;
                    return scanner.object(members).map(|()| true);
                }
                (Place::Outside, _) => return scanner.object(members).map(|()| true),
            }
        }
    }

    /// Goes on behind the line in which the faulty record began, not behind the one in which the fault
    /// was seen: an object that was never closed is noticed only on the line after it, and that line
    /// may be right. What array the record stood in is then unknown.
    fn skip_line(&mut self) {
        let line = self.text[self.at..].iter().position(|b| *b == b'\n');
        self.at = line.map_or(self.text.len(), |line| self.at + line + 1);
        self.place = Place::Outside;
    }
}
