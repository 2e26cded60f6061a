//! Lines out of parts that may be cut anywhere.

use super::TEXT_MAX;

/// A line is longer than any may be: what follows it cannot be told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line that has not ended yet.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next part; what comes back are whole lines, or nothing if none ended.
    ///
    /// # Errors
    /// When a line is longer than [`TEXT_MAX`] bytes.
    pub(super) fn take(&mut self, part: &[u8]) -> Result<Vec<u8>, TooLong> {
        let first = part.iter().position(|&byte| byte == b'\n');
        if self.begun.len() + first.unwrap_or(part.len()) > TEXT_MAX {
            self.begun = Vec::new();
            return Err(TooLong);
        }
        let Some(last) = part.iter().rposition(|&byte| byte == b'\n') else {
            self.begun.extend_from_slice(part);
            return Ok(Vec::new());
        };
        let (ended, begun) = part.split_at(last + 1);
        let mut whole = std::mem::replace(&mut self.begun, begun.to_vec());
        whole.extend_from_slice(ended);
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_may_be_so_long_and_no_longer() {
        let part = vec![b'x'; TEXT_MAX / 8];
        let mut lines = Lines::default();
        for _ in 0..8 {
            assert_eq!(lines.take(&part), Ok(vec![]));
        }
        let mut fits = lines.take(b"\nab").unwrap();
        assert_eq!((fits.len(), fits.pop()), (TEXT_MAX + 1, Some(b'\n')));
        for _ in 0..7 {
            assert_eq!(lines.take(&part), Ok(vec![]));
        }
        assert_eq!(lines.take(&part), Err(TooLong));
        assert!(lines.begun.capacity() == 0, "it is not kept");
    }

    proptest! {
        #[test]
        fn lines_are_the_same_wherever_they_are_cut(text in "[a\n]{0,60}", piece in 1usize..9) {
            let mut lines = Lines::default();
            let mut got = Vec::new();
            for part in text.as_bytes().chunks(piece) {
                let whole = lines.take(part).unwrap();
                prop_assert!(whole.is_empty() || whole.ends_with(b"\n"));
                got.extend(whole);
            }
            prop_assert_eq!([got, lines.begun].concat(), text.as_bytes());
        }
    }
}
