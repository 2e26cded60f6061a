//! Which output plays when: at once, or at a constant latency; and which have a slow line.

use super::Bus;
use crate::bridge::{PlayoutMode, ToData};
use crate::config::DIN_BYTES;
use crate::control::port::{Home, matches_pattern};
use crate::id::PortId;

/// When the outputs of a node play what comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayoutRules {
    /// All but those of programs that talk to the node: these see when a message came.
    pub mode: PlayoutMode,
    /// Outputs by name, as [`NameFilter`](crate::control::port::NameFilter) matches names, app ports
    /// too. The last that matches counts.
    pub ports: Vec<(String, PlayoutMode)>,
    /// Outputs with a DIN cable behind them, by name.
    pub din: Vec<String>,
}

impl PlayoutRules {
    /// When an output plays what comes, and how many bytes a second its line carries.
    #[must_use]
    pub fn of(&self, name: &str, is_app: bool) -> (PlayoutMode, Option<u32>) {
        let named = self.ports.iter().rev().find(|(pattern, _)| matches_pattern(pattern, name));
        let all = if is_app { PlayoutMode::Immediate } else { self.mode };
        let mode = named.map_or(all, |(_, mode)| *mode);
        let is_din = self.din.iter().any(|pattern| matches_pattern(pattern, name));
        (mode, is_din.then_some(DIN_BYTES))
    }
}

impl Bus {
    /// What the data plane must be told of an output that was opened; nothing when it plays as an output
    /// does that was told nothing.
    pub(super) fn playout_of(&self, port: PortId, mirror: Option<&str>) -> Option<ToData> {
        let (mode, pace) = self.playout(port, mirror)?;
        let usual = mode == PlayoutMode::Immediate && pace.is_none();
        (!usual).then_some(ToData::OutputPlayout { port, mode, pace })
    }

    /// When a local port, or the mirror of that name, plays what comes.
    pub(super) fn playout(
        &self,
        port: PortId,
        mirror: Option<&str>,
    ) -> Option<(PlayoutMode, Option<u32>)> {
        if let Some(name) = mirror {
            return Some(self.rules.playout.of(name, false));
        }
        let local = &self.locals.get(&port)?.port;
        Some(self.rules.playout.of(&local.name, local.home == Home::App))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn a_named_port_has_its_own_mode() {
        let fixed = PlayoutMode::Fixed(Span::from_ms(12));
        let rules = PlayoutRules {
            mode: PlayoutMode::Adaptive,
            ports: vec![("Synth*".into(), fixed), ("synth 2".into(), PlayoutMode::Immediate)],
            din: vec!["Old*".into()],
        };
        assert_eq!(rules.of("Keys @ mac", false), (PlayoutMode::Adaptive, None));
        assert_eq!(rules.of("Robot", true), (PlayoutMode::Immediate, None));
        assert_eq!(rules.of("Synth 1", true), (fixed, None));
        assert_eq!(rules.of("Synth 2", false), (PlayoutMode::Immediate, None));
        assert_eq!(rules.of("Old Synth", false), (PlayoutMode::Adaptive, Some(DIN_BYTES)));
        assert_eq!(PlayoutRules::default().of("x", false), (PlayoutMode::Immediate, None));
    }
}
