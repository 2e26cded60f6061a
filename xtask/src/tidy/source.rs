//! A Rust file as the checks want to see it: the lines as written, the same lines with comments and
//! literals blanked out, and which of them are test code.
//!
//! No parser: blanking needs only to know where comments, strings and characters begin and end, and
//! after it braces can be counted and words looked for without being deceived.

use std::path::{Path, PathBuf};

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path from the root of the repository.
    pub(crate) path: PathBuf,
    /// The lines as written.
    pub(crate) lines: Vec<String>,
    /// The same lines with comments and the insides of literals turned into spaces.
    pub(crate) code: Vec<String>,
    /// Which lines are test code.
    pub(crate) test: Vec<bool>,
}

impl Source {
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let code: Vec<String> = blank(text).lines().map(String::from).collect();
        let test = test_lines(&path, &code);
        Self { path, lines: text.lines().map(String::from).collect(), code, test }
    }

    /// Whether the file is below `dir`, a path from the root of the repository.
    pub(crate) fn is_in(&self, dir: &str) -> bool {
        self.path.starts_with(dir)
    }

    /// The line numbers, counted from 1, on which `word` stands in code as a word of its own.
    pub(crate) fn lines_with(&self, word: &str) -> Vec<usize> {
        let hits = self.code.iter().enumerate().filter(|(_, line)| has_word(line, word));
        hits.map(|(i, _)| i + 1).collect()
    }

    /// Whether line `number`, counted from 1, is test code.
    pub(crate) fn is_test(&self, number: usize) -> bool {
        self.test.get(number - 1).copied().unwrap_or(false)
    }
}

/// Whether `word` stands in `line` with no letter, digit or `_` on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Where the brace opened first at or after line `start` (counted from 0) closes, as a line counted
/// from 0. `None` when a `;` comes before any brace: a declaration without a body.
pub(crate) fn body_end(code: &[String], start: usize, column: usize) -> Option<usize> {
    let (mut depth, mut round) = (0_usize, 0_usize);
    for (number, line) in code.iter().enumerate().skip(start) {
        let from = if number == start { column } else { 0 };
        for c in line.chars().skip(from) {
            match c {
                '(' | '[' => round += 1,
                ')' | ']' => round = round.saturating_sub(1),
                ';' if depth == 0 && round == 0 => return None,
                '{' => depth += 1,
                '}' if depth == 1 => return Some(number),
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    None
}

/// Test code: whole files below `tests`, `benches` and `examples`, and what `#[cfg(test)]` covers.
fn test_lines(path: &Path, code: &[String]) -> Vec<bool> {
    let folder = |name: &str| path.iter().any(|part| part == name);
    let mut test = vec![folder("tests") || folder("benches") || folder("examples"); code.len()];
    // A module split off into its own file is named so by convention.
    if path.file_name().is_some_and(|name| name == "tests.rs") {
        test.fill(true);
    }
    for (number, line) in code.iter().enumerate() {
        let Some(column) = line.find("#[cfg(test)]").or_else(|| line.find("#[cfg(all(test")) else {
            continue;
        };
        let behind = line[column..].find(']').map_or(line.len(), |at| column + at + 1);
        let behind = line[..behind].chars().count();
        if let Some(end) = body_end(code, number, behind) {
            test[number..=end].fill(true);
        } else {
            test[number] = true;
        }
    }
    test
}

/// The text with comments and the insides of literals turned into spaces, line for line.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at + 1),
            'r' if !is_inside_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            let end = end.min(chars.len());
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Whether the character at `at` goes on a word: the `r` of `for` begins no string, that of `br` does.
fn is_inside_word(chars: &[char], at: usize) -> bool {
    let word = |i: usize| chars[i].is_alphanumeric() || chars[i] == '_';
    let (Some(one), two) = (at.checked_sub(1), at.checked_sub(2)) else { return false };
    if matches!(chars[one], 'b' | 'c') { two.is_some_and(word) } else { word(one) }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| at + n)
}

/// Block comments nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"…"` and `r#"…"#`; `None` for a raw identifier or a plain `r`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let close = |at: usize| {
        let tail = chars.get(at + 1..at + 1 + hashes);
        chars[at] == '"' && tail.is_some_and(|t| t.iter().all(|c| *c == '#'))
    };
    Some((open + 1..chars.len()).find(|at| close(*at)).map_or(chars.len(), |at| at + 1 + hashes))
}

/// `'x'`, `'\n'`, `'\u{1F600}'`; `None` for a lifetime.
fn char_end(chars: &[char], start: usize) -> Option<usize> {
    if chars.get(start + 1) == Some(&'\\') {
        let from = start + 3;
        return (from..chars.len().min(from + 12)).find(|at| chars[*at] == '\'').map(|at| at + 1);
    }
    (chars.get(start + 2) == Some(&'\'')).then_some(start + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_vanish_and_lines_stay() {
        let text =
            "a /* x /* y */ z */ b // c\n\"d \\\" {\" e r#\"f \" {\"# g br\"h\" '{' '\\'' 'i x";
        let code = blank(text);
        assert_eq!(code.split_whitespace().collect::<String>(), "abegb'ix");
        assert_eq!(code.lines().count(), 2);
        assert_eq!(code.chars().count(), text.chars().count());
    }

    #[test]
    fn a_string_over_lines_keeps_the_count() {
        assert_eq!(blank("let a = \"x\ny\";\nb").lines().count(), 3);
    }

    #[test]
    fn a_word_ending_in_r_begins_no_raw_string() {
        assert_eq!(blank("for\"x\" y").trim_end(), "for    y");
        assert!(blank("r#type").contains("type"));
    }

    #[test]
    fn test_modules_are_seen_to_their_end() {
        let s = Source::new(
            "crates/x/src/a.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n {}\n}\nfn b() {}",
        );
        assert_eq!(s.test, [false, true, true, true, true, false]);
        let s = Source::new("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;\nfn b() { }");
        assert_eq!(s.test, [true, false, false]);
    }

    #[test]
    fn bodies_end_where_their_brace_closes() {
        let s = Source::new("x.rs", "fn a(x: [u8; 3]) -> u8 {\n{ }\n\"}\";\n}\nfn b();");
        assert_eq!(body_end(&s.code, 0, 0), Some(3));
        assert_eq!(body_end(&s.code, 4, 0), None);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("std::sync::Mutex<u8>", "Mutex"));
        assert!(!has_word("MutexLike My_Mutex", "Mutex"));
    }
}
