//! Text for terminals: tables, colours, numbers, and what others wrote made harmless.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;

/// Text from the network with everything visible: what would move the cursor, change colours or turn
/// the direction of writing stands there as an escape.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns_direction(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// How many columns a text takes on a terminal: wide characters (Chinese, Japanese, Korean, emoji)
/// count twice, combining ones not at all.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

const fn char_width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36F}' | '\u{200B}'..='\u{200F}' | '\u{FE00}'..='\u{FE0F}' => 0,
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}'
        | '\u{1F300}'..='\u{1FAFF}'
        | '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

/// The text with spaces behind it up to `columns`; a longer one is cut and ends in an ellipsis.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut taken = width(text);
    if taken <= columns {
        return format!("{text}{:1$}", "", columns - taken);
    }
    let mut cut = String::new();
    taken = 0;
    for c in text.chars() {
        if taken + char_width(c) + 1 > columns {
            break;
        }
        taken += char_width(c);
        cut.push(c);
    }
    let rest = columns.saturating_sub(taken + 1);
    format!("{cut}…{:1$}", "", rest)
}

/// A number with its thousands apart: 1,234,567.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Minutes and seconds of a length in seconds: 1:05, 1:02:07.
pub(super) fn minutes(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A length given in microseconds, in the unit that suits it: 85 µs, 1.24 ms, 2.5 s.
pub(super) fn duration_us(us: f64) -> String {
    if us.abs() < 1_000.0 {
        format!("{us:.0} µs")
    } else if us.abs() < 1_000_000.0 {
        format!("{:.2} ms", us / 1_000.0)
    } else {
        format!("{:.1} s", us / 1_000_000.0)
    }
}

/// "1 peer", "2 peers".
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A table with a heading, columns as wide as they must be.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
}

impl Table {
    /// A table with these headings; the columns `right` (from 0) are numbers and stand to the right.
    pub(super) fn new(headings: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![headings.iter().map(|&h| h.to_owned()).collect()], right }
    }

    /// One more row; its cells are made harmless.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| escape(&cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().filter_map(|r| r.get(i)).map(|c| width(c)).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (i, (cell, column)) in row.iter().zip(&widths).enumerate() {
                let space = column - width(cell);
                if i > 0 {
                    line.push_str("  ");
                }
                if self.right.contains(&i) {
                    write!(line, "{:space$}{cell}", "")?;
                } else {
                    write!(line, "{cell}{:space$}", "")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output: colours on a terminal that has them, unless `NO_COLOR` says otherwise.
    pub(super) fn stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// No colours.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self { on: false }
    }

    /// The text in a colour of the terminal's own, by its SGR number.
    pub(super) fn paint(self, sgr: u8, text: &str) -> String {
        if self.on { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text with its first line in bold.
    pub(super) fn head(self, text: &str) -> String {
        let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
        format!("{}\n{rest}", self.paint(1, head))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_others_wrote_cannot_act() {
        assert_eq!(escape("Keys\x1b[2J\r\n"), "Keys\\u{1b}[2J\\u{d}\\u{a}");
        assert_eq!(escape("a\u{202E}b"), "a\\u{202e}b");
        assert_eq!(escape("Flügel @ 鍵盤"), "Flügel @ 鍵盤");
    }

    #[test]
    fn a_table_is_aligned_whatever_is_in_it() {
        let mut table = Table::new(&["NAME", "ROUTES", "NODE"], &[1]);
        table.row(["Keys".to_owned(), "12".to_owned(), "mac".to_owned()]);
        table.row(["鍵盤".to_owned(), "1".to_owned(), String::new()]);
        table.row(["\x07".to_owned(), "3".to_owned(), "x".to_owned()]);
        let want = "NAME   ROUTES  NODE\nKeys       12  mac\n鍵盤        1\n\\u{7}       3  x\n";
        assert_eq!(table.to_string(), want);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 65, 3_727].map(minutes), ["0:00", "1:05", "1:02:07"]);
        assert_eq!([85.4, 1_240.0, 2_500_000.0].map(duration_us), ["85 µs", "1.24 ms", "2.5 s"]);
        assert_eq!([1, 2].map(|n| count(n, "peer")), ["1 peer", "2 peers"]);
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(|c| c.is_control() || turns_direction(c)));
        }

        #[test]
        fn what_is_fitted_fits(text in "[a-zé鍵 ]{0,30}", columns in 1_usize..20) {
            prop_assert_eq!(width(&fit(&text, columns)), columns);
        }
    }
}
