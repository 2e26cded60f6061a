//! What `--playout` takes: a mode for all outputs, or `PORT=MODE` for one.

use midip2p_proto::bridge::PlayoutMode;
use midip2p_proto::config::{LATENCY_MAX, LATENCY_MIN};
use midip2p_proto::control::bus::PlayoutRules;
use midip2p_proto::time::Span;

/// One `--playout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Playout {
    /// Which port; all, when `None`.
    port: Option<String>,
    mode: PlayoutMode,
}

/// What all of them say together; of several modes for all ports the last.
pub(super) fn rules(all: &[Playout], din: &[String]) -> PlayoutRules {
    let mut rules = PlayoutRules { din: din.to_vec(), ..PlayoutRules::default() };
    for Playout { port, mode } in all.iter().cloned() {
        match port {
            Some(port) => rules.ports.push((port, mode)),
            None => rules.mode = mode,
        }
    }
    rules
}

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Playout, String> {
    // The name of a port may have any character, so the mode is looked for from the end.
    let split = ["=immediate", "=scheduled"].iter().filter_map(|m| text.rfind(m)).max();
    let (port, mode) = match split {
        Some(0) => return Err("before the = stands the name of a port".to_owned()),
        Some(at) => (Some(text[..at].to_owned()), &text[at + 1..]),
        None => (None, text),
    };
    Ok(Playout { port, mode: parse_mode(mode)? })
}

fn parse_mode(text: &str) -> Result<PlayoutMode, String> {
    match text.split_once('=') {
        None if text == "immediate" => Ok(PlayoutMode::Immediate),
        None if text == "scheduled" => Ok(PlayoutMode::Adaptive),
        Some(("scheduled", latency)) => parse_latency(latency).map(PlayoutMode::Fixed),
        _ => Err("a mode is immediate, scheduled (with the latency that the network needs) or \
                  scheduled=MS; for one port PORT=MODE"
            .to_owned()),
    }
}

fn parse_latency(text: &str) -> Result<Span, String> {
    let number = text.strip_suffix("ms").unwrap_or(text).trim();
    let us = number.parse::<f64>().ok().map(|ms| (ms * 1_000.0).round());
    #[allow(clippy::cast_possible_truncation)] // saturates, and is compared with its bounds
    let latency = us.map(|us| Span::from_us(us as i64));
    latency.filter(|l| (LATENCY_MIN..=LATENCY_MAX).contains(l)).ok_or_else(|| {
        "a latency is 0.5 to 500 milliseconds, as scheduled=12 or scheduled=2.5ms".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_ports_are_told_apart() {
        let fixed = |us| PlayoutMode::Fixed(Span::from_us(us));
        for (text, port, mode) in [
            ("immediate", None, PlayoutMode::Immediate),
            ("scheduled", None, PlayoutMode::Adaptive),
            ("scheduled=12", None, fixed(12_000)),
            ("scheduled=2.5ms", None, fixed(2_500)),
            ("scheduled=500", None, fixed(500_000)),
            ("scheduled=0.5", None, fixed(500)),
            ("Synth=immediate", Some("Synth"), PlayoutMode::Immediate),
            ("Keys @ mac=scheduled", Some("Keys @ mac"), PlayoutMode::Adaptive),
            ("a=b=scheduled=7", Some("a=b"), fixed(7_000)),
        ] {
            assert_eq!(parse(text), Ok(Playout { port: port.map(str::to_owned), mode }), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_is_allowed() {
        for (text, want) in [
            ("", "immediate"),
            ("soon", "scheduled=MS"),
            ("Synth", "PORT=MODE"),
            ("Synth=late", "PORT=MODE"),
            ("scheduled=", "0.5 to 500"),
            ("scheduled=0.4", "0.5 to 500"),
            ("scheduled=501", "0.5 to 500"),
            ("scheduled=NaN", "0.5 to 500"),
            ("scheduled=1e300", "0.5 to 500"),
            ("Synth=scheduled=12s", "0.5 to 500"),
            ("=scheduled", "name of a port"),
        ] {
            assert!(parse(text).unwrap_err().contains(want), "{text}: {:?}", parse(text));
        }
    }
}
