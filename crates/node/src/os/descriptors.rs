//! How many descriptors the process may have: each link has four of them, and a usual limit is 1,024.

/// Asks for as many descriptors as this process may have without a privilege. Where the system refuses, the
/// last connections do.
///
/// Realtime-safe: no
pub fn allow_all() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
    {
        // What it was is enough for a small session.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}

/// 255 links, as many clients, and what a node has of its own.
const ENOUGH: u64 = 4_096;

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn it_is_never_less_than_before() {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        super::allow_all();
        let (after, hard_after) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(after >= before.max(hard.min(super::ENOUGH)) && hard_after == hard);
    }
}
