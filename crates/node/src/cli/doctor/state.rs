//! Where a node keeps itself: the state directory, its disk, and how many descriptors there are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Finding;
use crate::os::probe::kernel::{self, Limit};
use crate::os::state;

/// What a node writes in its life is smaller; below this the next program stands still, too.
const FREE_MIN: u64 = 16 << 20;
/// Four of a link and what a node has of its own: enough for a large studio.
const DESCRIPTORS_MIN: u64 = 1_024;

pub(super) fn findings() -> Vec<Finding> {
    let base = state::base();
    // The nearest that is there: what is missing is made by the first node.
    let there = base.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let free = kernel::free_bytes(there);
    vec![of_directory(&base, there), of_disk(there, free), of_descriptors(kernel::descriptors())]
}

fn of_directory(base: &Path, there: &Path) -> Finding {
    let check = "state directory";
    if !kernel::is_writable(there) {
        return Finding::problem(
            check,
            format!("{} cannot be written", there.display()),
            "make it yours (chown), set XDG_STATE_HOME, or name another with --state",
        );
    }
    if there != base {
        return Finding::ok(check, format!("{} will be made", base.display()));
    }
    let owner = nix::unistd::getuid().as_raw();
    let open = fs::metadata(base).ok().filter(|m| m.mode() & 0o022 != 0 || m.uid() != owner);
    match open {
        Some(_) => Finding::problem(
            check,
            format!("others may write into {}, or it is another user's", base.display()),
            "keep them out, or they can become this node: chown it to yourself, and chmod go-w",
        ),
        None => Finding::ok(check, base.display().to_string()),
    }
}

fn of_disk(there: &Path, free: Option<u64>) -> Finding {
    match free {
        Some(bytes) if bytes < FREE_MIN => Finding::problem(
            "disk",
            format!("{} KiB free at {}", bytes >> 10, there.display()),
            "make room, or name a state directory on another disk with --state",
        ),
        Some(bytes) => Finding::ok("disk", format!("{} MiB free", bytes >> 20)),
        None => Finding::unknown("disk", "the system does not say what is free"),
    }
}

fn of_descriptors(limit: Limit) -> Finding {
    match limit {
        Some(most) if most < DESCRIPTORS_MIN => Finding::warning(
            "descriptors",
            format!("at most {most}, of which each link takes four"),
            "raise it: \"* - nofile 4096\" in /etc/security/limits.conf, or LimitNOFILE= in the unit",
        ),
        Some(most) => Finding::ok("descriptors", format!("up to {most}")),
        None => Finding::ok("descriptors", "without limit"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_is_a_problem_and_one_to_be_made_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_directory(dir.path(), dir.path()).verdict, Verdict::Ok);
        let missing = dir.path().join("a/b");
        assert!(of_directory(&missing, dir.path()).seen.ends_with("will be made"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(of_directory(dir.path(), dir.path()).verdict, Verdict::Problem);
        assert_eq!(of_disk(dir.path(), Some(1)).verdict, Verdict::Problem);
        assert_eq!(of_disk(dir.path(), Some(FREE_MIN)).verdict, Verdict::Ok);
        assert_eq!(of_descriptors(Some(256)).verdict, Verdict::Warning);
    }
}
