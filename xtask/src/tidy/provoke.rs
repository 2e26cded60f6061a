//! Proof that the bans in each `clippy.toml` bite: a throw-away crate uses every banned thing once,
//! under the very same `clippy.toml`, and clippy must name each.
//!
//! A ban with a slip in its path is accepted in silence and forbids nothing; so is a `clippy.toml`
//! that clippy does not find. Crates that a ban names (tokio) are stood in for by empty ones of the
//! same shape, so that this needs no network and takes a second or two.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::steps::{cargo, root, target};

/// How to use a banned method. A path that is not here is called without arguments.
const USES: [(&str, &str); 6] = [
    ("std::thread::spawn", "std::thread::spawn(|| ());"),
    ("std::thread::Builder::spawn", "let _ = std::thread::Builder::new().spawn(|| ());"),
    ("std::thread::scope", "std::thread::scope(|_| ());"),
    ("std::thread::sleep", "std::thread::sleep(std::time::Duration::ZERO);"),
    ("std::sync::mpsc::channel", "std::sync::mpsc::channel::<u8>();"),
    ("std::sync::mpsc::sync_channel", "std::sync::mpsc::sync_channel::<u8>(1);"),
];

/// Banned types that take a parameter, by the last part of their path.
const GENERIC: [&str; 4] = ["Mutex", "RwLock", "OnceLock", "LazyLock"];

/// Provokes every ban of every `crates/*/clippy.toml`.
///
/// # Errors
/// The bans that did not bite.
pub(crate) fn check() -> Result<()> {
    let mut silent = Vec::new();
    for entry in root().join("crates").read_dir()? {
        let dir = entry?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(config) = fs::read_to_string(dir.join("clippy.toml")) else { continue };
        let missed = missed(&name, &config)?;
        println!("{name}: {} bans, {} silent", bans(&config).len(), missed.len());
        silent.extend(missed.into_iter().map(|path| format!("crates/{name}: {path}")));
    }
    if silent.is_empty() { Ok(()) } else { bail!("bans that do not bite: {}", silent.join(", ")) }
}

/// The bans of `config` that clippy does not name when they are broken.
fn missed(name: &str, config: &str) -> Result<Vec<String>> {
    let bans = bans(config);
    let dir = target().join("tidy/provoke").join(name);
    // From nothing each time: what cargo remembers of an earlier run is not what is asked here.
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    write(&dir, config, &bans)?;
    let output = cargo(&["clippy", "--quiet", "--offline", "--target-dir"])
        .arg(dir.join("target"))
        .current_dir(&dir)
        // Clippy looks for its configuration beside the manifest: one named here would mislead it.
        .env_remove("CLIPPY_CONF_DIR")
        .output()
        .context("cargo clippy could not be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let named = |ban: &Ban| {
        let kind = if ban.is_type { "type" } else { "method" };
        said.contains(&format!("use of a disallowed {kind} `{}`", ban.path))
    };
    let missed: Vec<String> = bans.into_iter().filter(|b| !named(b)).map(|b| b.path).collect();
    if !missed.is_empty() {
        println!("{said}");
    }
    Ok(missed)
}

#[derive(Debug, PartialEq, Eq)]
struct Ban {
    path: String,
    is_type: bool,
}

/// The banned paths, read line by line: the files are ours, and one ban stands on one line.
fn bans(config: &str) -> Vec<Ban> {
    let mut is_type = false;
    let mut found = Vec::new();
    for line in config.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        match line.split_once('=').map(|(key, _)| key.trim()) {
            Some("disallowed-methods") => is_type = false,
            Some("disallowed-types") => is_type = true,
            _ => {}
        }
        let path = line.split_once("path = \"").and_then(|(_, rest)| rest.split_once('"'));
        if let Some((path, _)) = path {
            found.push(Ban { path: path.to_owned(), is_type });
        }
    }
    found
}

/// Writes the crate that breaks each ban, and stand-ins for the crates whose paths are banned.
fn write(dir: &Path, config: &str, bans: &[Ban]) -> Result<()> {
    // A workspace of its own, or cargo would look for one above and find ours.
    let mut manifest = String::from(
        "[package]\nname = \"provoke\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n",
    );
    let mut strangers: Vec<&str> = bans.iter().filter_map(|b| b.path.split("::").next()).collect();
    strangers.sort_unstable();
    strangers.dedup();
    for stranger in strangers.into_iter().filter(|s| !matches!(*s, "std" | "core" | "alloc")) {
        manifest += &format!("{stranger} = {{ path = \"{stranger}\" }}\n");
        stand_in(&dir.join(stranger), stranger, bans)?;
    }
    let uses: String = bans.iter().enumerate().map(|(n, ban)| broken(n, ban)).collect();
    put(dir.join("Cargo.toml"), &manifest)?;
    put(dir.join("clippy.toml"), config)?;
    put(dir.join("src/lib.rs"), &uses)
}

/// A function that breaks one ban.
fn broken(n: usize, ban: &Ban) -> String {
    let path = &ban.path;
    if ban.is_type {
        let generic = GENERIC.iter().any(|g| path.rsplit("::").next() == Some(g));
        let parameter = if generic { "<u8>" } else { "" };
        return format!("pub fn f{n}(_: &{path}{parameter}) {{}}\n");
    }
    let known = USES.iter().find(|(p, _)| p == path);
    let call = known.map_or_else(|| format!("let _ = {path}();"), |(_, call)| (*call).to_owned());
    format!("pub fn f{n}() {{ {call} }}\n")
}

/// A crate of that name with the banned types at their places: at its root, or one module deep.
fn stand_in(dir: &Path, name: &str, bans: &[Ban]) -> Result<()> {
    let mut modules: BTreeMap<&str, String> = BTreeMap::new();
    for ban in bans.iter().filter(|b| b.is_type) {
        let (module, item) = match ban.path.split("::").collect::<Vec<_>>().as_slice() {
            [first, item] if *first == name => ("", *item),
            [first, module, item] if *first == name => (*module, *item),
            _ => continue,
        };
        *modules.entry(module).or_default() += &format!("pub struct {item}<T>(pub T);\n");
    }
    let mut text = modules.remove("").unwrap_or_default();
    for (module, items) in modules {
        text += &format!("pub mod {module} {{\n{items}}}\n");
    }
    put(dir.join("Cargo.toml"), &format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n"))?;
    put(dir.join("src/lib.rs"), &text)
}

/// Writes a file unless it says so already, so that cargo need not compile it anew.
fn put(path: PathBuf, text: &str) -> Result<()> {
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_read_with_their_kind() {
        let config = "disallowed-methods = [\n { path = \"a::b\", reason = \"c\" },\n]\n\
                      # { path = \"not::this\" }\ndisallowed-types = [\n { path = \"d::E\" },\n]";
        let ban = |path: &str, is_type| Ban { path: path.into(), is_type };
        assert_eq!(bans(config), [ban("a::b", false), ban("d::E", true)]);
    }

    #[test]
    fn a_ban_with_a_slip_is_found_and_a_sound_one_is_not() {
        let config = "disallowed-methods = [\n { path = \"std::time::Instant::now\" },\n]\n\
                      disallowed-types = [\n { path = \"tokio::sync::Mutex\" },\n]";
        assert_eq!(missed("test-sound", config).unwrap(), Vec::<String>::new());
        // A thing there is not: nothing can use it, and nothing is forbidden.
        let slip = config.replace("Instant::now", "Instant::nwo");
        assert!(missed("test-slip", &slip).unwrap().contains(&"std::time::Instant::nwo".into()));
    }
}
