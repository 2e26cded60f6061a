//! Files and functions stay of a size that a reader can hold in the head.

use super::Finding;
use super::source::{Source, body_end};

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
/// Files above this are listed by `--verbose`: what grows shows before it is too much.
const LARGE_LINES: usize = 300;

/// Files above 800 lines, tests included; functions above 70, tests not included.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = source.lines.len();
    if lines > FILE_LINES {
        let what = format!("{lines} lines, above {FILE_LINES}: split it by role");
        found.push(Finding::new(&source.path, 0, what));
    }
    for f in functions(source) {
        if f.lines > FUNCTION_LINES && !source.is_test(f.line) {
            let what = format!("fn {} has {} lines, above {FUNCTION_LINES}", f.name, f.lines);
            found.push(Finding::new(&source.path, f.line, what));
        }
    }
    found
}

/// Prints the files above 300 lines, the largest first.
pub(super) fn list(sources: &[Source]) {
    let mut large: Vec<_> = sources.iter().filter(|s| s.lines.len() > LARGE_LINES).collect();
    large.sort_by_key(|s| std::cmp::Reverse(s.lines.len()));
    for source in large {
        println!("{:5} {}", source.lines.len(), source.path.display());
    }
}

struct Function {
    name: String,
    /// Counted from 1.
    line: usize,
    lines: usize,
}

/// The functions with a body, from the `fn` to the closing brace.
fn functions(source: &Source) -> Vec<Function> {
    let mut found = Vec::new();
    for (number, line) in source.code.iter().enumerate() {
        for (at, _) in line.match_indices("fn ") {
            let begins = line[..at].chars().next_back().is_none_or(|c| c == ' ' || c == '(');
            let name: String = line[at + 3..].chars().take_while(|c| is_word(*c)).collect();
            // Without a name it is a type: `fn (u8)`.
            if !begins || name.is_empty() {
                continue;
            }
            let column = line[..at].chars().count();
            if let Some(end) = body_end(&source.code, number, column) {
                found.push(Function { name, line: number + 1, lines: end - number + 1 });
            }
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(body: usize) -> String {
        format!("pub fn long(\n    a: u8,\n) {{\n{}}}\n", "    a();\n".repeat(body))
    }

    #[test]
    fn a_function_of_71_lines_is_found_and_one_of_70_is_not() {
        assert_eq!(check(&Source::new("crates/x/src/a.rs", &function(66))), []);
        let found = check(&Source::new("crates/x/src/a.rs", &function(67)));
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("fn long has 71"), "{found:?}");
    }

    #[test]
    fn tests_may_be_long() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
        assert_eq!(check(&Source::new("crates/x/src/a.rs", &text)), []);
        assert_eq!(check(&Source::new("crates/x/tests/a.rs", &function(90))), []);
    }

    #[test]
    fn braces_in_text_do_not_hide_an_end() {
        let text = format!("fn a() {{\n    b(\"{{\", '{{'); // {{\n}}\n{}", "\n".repeat(90));
        assert_eq!(check(&Source::new("crates/x/src/a.rs", &text)), []);
    }

    #[test]
    fn a_file_of_801_lines_is_found() {
        assert_eq!(check(&Source::new("x.rs", &"a\n".repeat(800))), []);
        assert_eq!(check(&Source::new("x.rs", &"a\n".repeat(801))).len(), 1);
    }
}
