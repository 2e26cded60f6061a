//! Where a user's config file lies.

use std::path::PathBuf;

/// The file that is read when nobody names another: `$XDG_CONFIG_HOME/midip2p/config.toml`, or the same in
/// `~/.config`. `None`: the user has no home.
#[must_use]
pub fn file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|d| d.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| home().map(|home| home.join(".config")))
        .map(|dir| dir.join("midip2p/config.toml"))
}

/// The user's home.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}
