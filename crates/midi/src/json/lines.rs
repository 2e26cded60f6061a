//! Many records: one a line, or a batch in an array.

use super::Record;
use super::decode::record;
use super::error::{DecodeError, Reason};
use super::scan::Scanner;

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
        let found = self.advance(&mut scanner);
        self.at = scanner.at;
        match found {
            Ok(None) => None,
            // A record that stands right is passed, whatever it says.
            Ok(Some(members)) => Some(record(&members, scratch)),
            Err(error) => {
                self.skip_line(error.offset);
                Some(Err(error))
            }
        }
    }

    fn advance(
        &mut self,
        scanner: &mut Scanner<'a>,
    ) -> Result<Option<super::scan::Members<'a>>, DecodeError> {
        loop {
            if scanner.at_end() {
                let whole = self.place == Place::Outside;
                return if whole { Ok(None) } else { Err(scanner.fault(Reason::EndOfText)) };
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
                    return scanner.object().map(Some);
                }
                (Place::Within, _) => return Err(scanner.expected("a comma or a closing bracket")),
                (Place::Opened, _) => {
                    self.place = Place::Within;
                    return scanner.object().map(Some);
                }
                (Place::Outside, _) => return scanner.object().map(Some),
            }
        }
    }

    /// Goes on behind the line that holds the fault; what array it stood in is then unknown.
    fn skip_line(&mut self, fault: usize) {
        let from = fault.max(self.at).min(self.text.len());
        let line = self.text[from..].iter().position(|b| *b == b'\n');
        self.at = line.map_or(self.text.len(), |line| from + line + 1);
        self.place = Place::Outside;
    }
}
