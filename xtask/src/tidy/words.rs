//! Words that may not stand in code: marks of unfinished work, `unsafe`, locks, clocks, sockets,
//! sleeps; and, in any file, names of somebody's machine.

use std::path::Path;

use super::Finding;
use super::source::{Source, has_word};

/// Files that may hold `unsafe`, each block under a `SAFETY:` that says why. The network lab is a
/// program for tests that stands outside the workspace; so does `lab/tsan`, a data race on purpose.
const UNSAFE: [&str; 4] =
    ["lab/netlab", "lab/tsan", "crates/node/src/os/slice.rs", "crates/node/src/os/tcp.rs"];

/// Marks of work that is not finished. In pieces, so that this file does not find itself.
const UNFINISHED: [&str; 7] = [
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("for", " now"),
    concat!("#[ig", "nore"),
];

/// Endings of the files in which those marks are looked for.
const PROGRAMS: [&str; 8] = ["rs", "sh", "py", "js", "mjs", "ts", "toml", "mk"];

/// Names that mean one machine, or where one machine gets its packages from.
const MACHINE: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "target"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs"),
    concat!("files.", "pythonhosted"),
    concat!("deb.", "debian.org"),
];

/// A word that code below `dirs` may not hold, and what to do instead.
struct Ban {
    word: &'static str,
    dirs: &'static [&'static str],
    /// Whether test code may.
    tests_may: bool,
    instead: &'static str,
}

const fn ban(word: &'static str, dirs: &'static [&'static str], instead: &'static str) -> Ban {
    Ban { word, dirs, tests_may: false, instead }
}

const LOCK_FREE: &[&str] = &["crates/proto", "crates/node/src"];
const PURE: &[&str] = &["crates/midi/src", "crates/proto/src"];
const NO_LOCK: &str = "no locks: exchange values over rings, read snapshots";
const NO_CLOCK: &str = "no clock reads: time is an argument";
const NO_SOCKET: &str = "no sockets: bytes go through the caller";

/// What runs on the real-time thread, or in a callback of JACK: no sanitizer tells a line of log there from a
/// wake-up, for both are writes to a descriptor.
const REALTIME: &[&str] = &[
    "crates/proto/src",
    "crates/node/src/realtime",
    "crates/node/src/transport",
    "crates/node/src/ports/app.rs",
    "crates/node/src/ports/alsa/driver.rs",
    "crates/node/src/ports/jack/driver.rs",
    "crates/node/src/ports/jack/process.rs",
];
const NO_LOG: &str = "no log on the real-time path: count it";

const BANS: [Ban; 13] = [
    Ban { word: "println", dirs: REALTIME, tests_may: true, instead: NO_LOG },
    Ban { word: "eprintln", dirs: REALTIME, tests_may: true, instead: NO_LOG },
    Ban { word: "dbg", dirs: REALTIME, tests_may: true, instead: NO_LOG },
    Ban { word: "tracing", dirs: REALTIME, tests_may: true, instead: NO_LOG },
    ban("Mutex", LOCK_FREE, NO_LOCK),
    ban("RwLock", LOCK_FREE, NO_LOCK),
    ban("Instant", PURE, NO_CLOCK),
    ban("SystemTime", PURE, NO_CLOCK),
    ban("UdpSocket", PURE, NO_SOCKET),
    ban("TcpStream", PURE, NO_SOCKET),
    ban("TcpListener", PURE, NO_SOCKET),
    ban("UnixStream", PURE, NO_SOCKET),
    Ban {
        word: "thread::sleep",
        dirs: &["crates"],
        tests_may: true,
        instead: "wait for the event, on a descriptor or a timer that a stop can end",
    },
];

/// What may not stand in the code of this Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for ban in BANS.iter().filter(|b| b.dirs.iter().any(|d| source.is_in(d))) {
        for line in source.lines_with(ban.word) {
            if !(ban.tests_may && source.is_test(line)) {
                let what = format!("`{}`: {}", ban.word, ban.instead);
                found.push(Finding::new(&source.path, line, what));
            }
        }
    }
    if !UNSAFE.iter().any(|p| source.is_in(p)) {
        for word in ["unsafe", "unsafe_code"] {
            let lines = source.lines_with(word).into_iter();
            found.extend(lines.filter(|l| !forbids_unsafe(&source.code[l - 1])).map(|line| {
                Finding::new(&source.path, line, format!("`{word}` outside the files named for it"))
            }));
        }
    }
    if source.is_in("crates") {
        found.extend(unexplained_sleeps(source));
    }
    found
}

/// What may not stand anywhere in this file of text.
pub(super) fn check_text(path: &Path, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let program = PROGRAMS.contains(&ending) || ending.is_empty();
    let lock = path.file_name().is_some_and(|n| n == "Cargo.lock");
    for (number, line) in text.lines().enumerate() {
        if program && !lock {
            for mark in UNFINISHED.iter().filter(|m| is_mark(line, m)) {
                let what = format!("`{mark}`: finish it, or leave it out");
                found.push(Finding::new(path, number + 1, what));
            }
        }
        for name in MACHINE.iter().filter(|m| names_machine(line, m)) {
            let what = format!("`{name}` means one machine; the project is built on others");
            found.push(Finding::new(path, number + 1, what));
        }
        if lock && line.starts_with("source = ") && !line.contains(CRATES_IO) {
            found.push(Finding::new(path, number + 1, "a crate that is not from crates.io"));
        }
    }
    found
}

/// A loop over a variable of that name is no mark.
fn is_mark(line: &str, mark: &str) -> bool {
    has_word(&line.replace(concat!("for", " now in "), ""), mark)
}

/// `$work/root/x` is a folder of somebody's choice; only from the root of the file system is it a machine's.
fn names_machine(line: &str, name: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '}' | '"' | '.');
    line.match_indices(name).any(|(at, _)| !line[..at].ends_with(inner))
}

const CRATES_IO: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";

fn forbids_unsafe(line: &str) -> bool {
    line.contains("forbid(unsafe_code)") || line.contains("deny(unsafe_code)")
}

/// A task may sleep (a back-off has nothing else to wait for), but a comment above must say why.
fn unexplained_sleeps(source: &Source) -> Vec<Finding> {
    let lines = source.lines_with("time::sleep").into_iter().filter(|l| !source.is_test(*l));
    let explained = |line: usize| {
        let above = &source.lines[line.saturating_sub(4)..line];
        above.iter().any(|l| l.contains("//"))
    };
    let what = "a sleep in the product: wait for the event, or say why above it";
    lines.filter(|l| !explained(*l)).map(|l| Finding::new(&source.path, l, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn every_ban_bites_where_it_holds_and_nowhere_else() {
        for b in &BANS {
            let text = format!("fn a() {{\n    {}::x();\n}}", b.word);
            for dir in b.dirs {
                let inside = format!("{dir}/src/a.rs");
                assert_eq!(found(&inside, &text), 1, "{} in {inside}", b.word);
                assert_eq!(found(&inside, &format!("// {}\n", b.word)), 0, "comments are free");
                let test = format!("#[cfg(test)]\nmod t {{\n{text}\n}}");
                assert_eq!(found(&inside, &test), usize::from(!b.tests_may), "{}", b.word);
            }
            assert_eq!(found("xtask/src/a.rs", &text), 0, "{} outside", b.word);
        }
    }

    #[test]
    fn unsafe_is_found_outside_its_files() {
        for text in ["unsafe { a() }", "#![allow(unsafe_code)]", "#[unsafe(no_mangle)]"] {
            assert_eq!(found("crates/midi/src/a.rs", text), 1, "{text}");
            assert_eq!(found("xtask/src/a.rs", text), 1, "{text}");
            assert_eq!(found("lab/netlab/src/a.rs", text), 0, "{text}");
        }
        assert_eq!(found("crates/proto/src/lib.rs", "#![forbid(unsafe_code)]"), 0);
        assert_eq!(found("crates/proto/src/lib.rs", "let a = \"unsafe\"; // unsafe"), 0);
    }

    #[test]
    fn a_task_that_sleeps_says_why() {
        let sleep = "tokio::time::sleep(d).await;";
        assert_eq!(found("crates/node/src/a.rs", &format!("\n\n\n{sleep}")), 1);
        let said = format!("// The peer asked for a pause.\n{sleep}");
        assert_eq!(found("crates/node/src/a.rs", &said), 0);
    }

    #[test]
    fn every_mark_and_every_machine_is_found() {
        for mark in UNFINISHED {
            assert_eq!(check_text(Path::new("a.rs"), &format!("a {mark} b")).len(), 1, "{mark}");
            assert_eq!(check_text(Path::new("Makefile"), mark).len(), 1, "{mark}");
            assert_eq!(check_text(Path::new("a.md"), mark).len(), 0, "{mark} in prose");
        }
        assert_eq!(check_text(Path::new("a.rs"), concat!("for", " now in times {")), []);
        for name in MACHINE {
            assert_eq!(check_text(Path::new("a.md"), &format!("see {name}x")).len(), 1, "{name}");
            assert_eq!(check_text(Path::new("a.sh"), &format!("$own{name}x")).len(), 0, "{name}");
        }
    }

    #[test]
    fn a_foreign_registry_in_the_lock_file_is_found() {
        let lock = Path::new("Cargo.lock");
        assert_eq!(check_text(lock, &format!("source = {CRATES_IO}")), []);
        assert_eq!(check_text(lock, "source = \"registry+https://example.org/index\"").len(), 1);
        assert_eq!(check_text(lock, "source = \"git+https://example.org/x#1\"").len(), 1);
    }
}
