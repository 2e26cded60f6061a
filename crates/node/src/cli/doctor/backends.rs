//! Which MIDI systems are here.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::Finding;
use crate::os::probe::kernel;

pub(super) fn alsa() -> Vec<Finding> {
    if !cfg!(all(feature = "alsa", target_os = "linux")) {
        return vec![Finding::ok("ALSA", "this program was built without it")];
    }
    let device = Path::new("/dev/snd/seq");
    vec![of_sequencer(device, kernel::can_open(device))]
}

fn of_sequencer(device: &Path, opened: io::Result<()>) -> Finding {
    let seen = |what: &dyn std::fmt::Display| format!("{}: {what}", device.display());
    match opened {
        Ok(()) => Finding::ok("ALSA", "the sequencer can be opened"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let next = "join the group audio (sudo usermod -aG audio \"$USER\") and log in anew";
            Finding::warning("ALSA", seen(&error), next)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::warning(
            "ALSA",
            seen(&"not there, so no hardware port of this machine can be used"),
            "sudo modprobe snd-seq, or say up --no-alsa if it is not wanted",
        ),
        Err(error) => {
            let next = "see whether another program holds it, and what `dmesg` says of it";
            Finding::warning("ALSA", seen(&error), next)
        }
    }
}

#[cfg(feature = "jack")]
pub(super) fn jack() -> Vec<Finding> {
    vec![match crate::ports::jack::is_server_there() {
        Ok(true) => Finding::ok("JACK", "a server runs"),
        Ok(false) => {
            Finding::ok("JACK", "libjack is there and no server runs; a node waits for one")
        }
        Err(_) => Finding::ok(
            "JACK",
            "no libjack, so its ports are not used; libjack-jackd2-0 or pipewire-jack brings it",
        ),
    }]
}

#[cfg(not(feature = "jack"))]
pub(super) fn jack() -> Vec<Finding> {
    vec![Finding::ok("JACK", "this program was built without it")]
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_reason_why_there_is_no_sequencer_has_its_own_way_out() {
        let of = |kind: ErrorKind| of_sequencer(Path::new("/dev/snd/seq"), Err(kind.into()));
        assert!(of(ErrorKind::PermissionDenied).next.contains("usermod"));
        assert!(of(ErrorKind::NotFound).next.contains("modprobe"));
        assert!(of(ErrorKind::ResourceBusy).next.contains("another program"));
        assert_eq!(of_sequencer(Path::new("x"), Ok(())).verdict, Verdict::Ok);
    }
}
