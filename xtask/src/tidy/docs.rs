//! Every file opens with what it is for, and functions on the real-time path say whether they are.

use super::Finding;
use super::source::{Source, body_end, has_word};

/// Where public functions carry the line `Realtime-safe: yes|no`.
const REALTIME: [&str; 4] = [
    "crates/node/src/realtime.rs",
    "crates/node/src/realtime",
    "crates/node/src/ports",
    "crates/proto/src/data/realtime",
];

/// Module docs at the head of every file of a crate, and the real-time line where it belongs.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    if source.is_in("crates") || source.is_in("xtask") {
        let head = source.lines.iter().find(|l| !l.trim().is_empty());
        if !head.is_some_and(|l| l.starts_with("//!")) {
            let what = "opens without `//!` docs; `///` would attach to the next item";
            found.push(Finding::new(&source.path, 1, what));
        }
    }
    if REALTIME.iter().any(|dir| source.is_in(dir)) {
        found.extend(unsaid(source));
    }
    found
}

/// Public functions, and those of public traits, whose docs do not say if they are real-time safe.
fn unsaid(source: &Source) -> Vec<Finding> {
    let public = public_functions(source).into_iter().filter(|n| !source.test[*n]);
    let what = "docs without the line `Realtime-safe: yes` or `Realtime-safe: no`";
    public
        .filter(|n| !says_realtime(source, *n))
        .map(|n| Finding::new(&source.path, n + 1, what))
        .collect()
}

/// Whether the docs of the item on line `item`, counted from 0, have the line.
fn says_realtime(source: &Source, item: usize) -> bool {
    let said = |d: &&str| d.contains("Realtime-safe: yes") || d.contains("Realtime-safe: no");
    docs_above(source, item).iter().any(said)
}

/// The lines, counted from 0, on which they begin. A trait whose own docs have the line speaks for
/// its methods.
fn public_functions(source: &Source) -> Vec<usize> {
    let code = &source.code;
    let is_fn = |line: &str| has_word(line, "fn") && !line.contains("fn(");
    let mut found: Vec<usize> = Vec::new();
    for (number, line) in code.iter().enumerate() {
        let item = line.trim_start();
        if item.starts_with("pub ") && is_fn(item) {
            found.push(number);
        } else if item.starts_with("pub trait ") && !says_realtime(source, number) {
            let end = body_end(code, number, 0).unwrap_or(number);
            let methods = number + 1..=end.max(number + 1);
            let indent = line.len() - item.len() + 4;
            found.extend(methods.filter(|n| {
                code.get(*n).is_some_and(|l| l.len() - l.trim_start().len() == indent && is_fn(l))
            }));
        }
    }
    found
}

/// The doc lines directly above an item, past its attributes.
fn docs_above(source: &Source, item: usize) -> Vec<&str> {
    let above = source.lines[..item].iter().rev().map(|l| l.trim_start());
    // Attributes over several lines end in `)]`; what is neither that nor a comment ends the item.
    above
        .take_while(|l| {
            !l.is_empty() && !l.ends_with(['{', '}', ';'])
                || l.starts_with("///")
                || l.starts_with('#')
        })
        .filter(|l| l.starts_with("///"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "//! What it is for.\n";

    fn found(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn a_file_without_module_docs_is_found() {
        assert_eq!(found("crates/midi/src/a.rs", "/// Not these.\nstruct A;"), 1);
        assert_eq!(found("crates/midi/src/a.rs", ""), 1);
        assert_eq!(found("crates/midi/src/a.rs", DOCS), 0);
        assert_eq!(found("rivals/src/a.rs", "fn a() {}"), 0);
    }

    #[test]
    fn a_silent_public_function_on_the_real_time_path_is_found() {
        for path in
            REALTIME.map(|p| if p.ends_with(".rs") { p.into() } else { format!("{p}/a.rs") })
        {
            for head in ["pub fn", "pub const fn", "    pub async fn"] {
                assert_eq!(found(&path, &format!("{DOCS}/// Docs.\n{head} a() {{}}")), 1, "{path}");
                let said = format!(
                    "{DOCS}/// Docs.\n///\n/// Realtime-safe: no\n#[inline]\n{head} a() {{}}"
                );
                assert_eq!(found(&path, &said), 0, "{path}");
            }
            assert_eq!(found(&path, &format!("{DOCS}fn private() {{}}")), 0);
        }
        assert_eq!(found("crates/node/src/cli/a.rs", &format!("{DOCS}pub fn a() {{}}")), 0);
    }

    #[test]
    fn the_docs_of_another_item_do_not_count() {
        let text = format!("{DOCS}/// Realtime-safe: yes\npub fn a() {{}}\npub fn b() {{}}");
        assert_eq!(found("crates/node/src/realtime.rs", &text), 1);
    }

    #[test]
    fn methods_of_a_public_trait_count() {
        let text = format!(
            "{DOCS}pub trait A {{\n    /// Realtime-safe: yes\n    fn a(&self);\n    fn b(&self) {{\n        let c = 1;\n    }}\n}}"
        );
        assert_eq!(found("crates/node/src/ports/mod.rs", &text), 1);
        let spoken_for = text.replace("pub trait", "/// Realtime-safe: no\npub trait");
        assert_eq!(found("crates/node/src/ports/mod.rs", &spoken_for), 0);
    }
}
