//! Names for people: readable, stable, and different for different things.

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::wire::DevicePort;

/// Nodes whose names are remembered; one more is always shown with a piece of its id.
const NAMES_MAX: usize = 1024;

/// How each node that was ever seen is shown. The first of a name has it plain, later ones with a
/// piece of their id; nobody's name changes because another came.
#[derive(Debug, Default)]
pub(super) struct Displays {
    names: BTreeMap<NodeId, (String, String)>,
}

impl Displays {
    pub(super) fn of(&mut self, node: NodeId, name: &str) -> String {
        let name = printable(name);
        if let Some((given, display)) = self.names.get(&node)
            && *given == name
        {
            return display.clone();
        }
        let taken = self.names.iter().any(|(n, (_, display))| *n != node && *display == name);
        let is_new = !self.names.contains_key(&node);
        if is_new && self.names.len() >= NAMES_MAX {
            return format!("{name} ({})", node.short());
        }
        let display = if taken { format!("{name} ({})", node.short()) } else { name.clone() };
        self.names.insert(node, (name, display.clone()));
        display
    }
}

/// The name of a port among its node's: twins are numbered in the order of their identities.
pub(super) fn port_name(port: &DevicePort, all: &[DevicePort]) -> String {
    let twins_before = all
        .iter()
        .filter(|p| p.name == port.name && p.source == port.source)
        .filter(|p| (&p.identity, p.id) < (&port.identity, port.id))
        .count();
    let name = printable(&port.name);
    if twins_before == 0 { name } else { format!("{name} {}", twins_before + 1) }
}

/// Text from the network without what could play tricks on a terminal.
fn printable(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.trim();
    if clean.is_empty() { "?".to_owned() } else { clean.to_owned() }
}

/// At most so many bytes of a text, cut between characters.
pub(in crate::control) fn cut(text: &str, max: usize) -> String {
    let end = (0..=max.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PortId;

    #[test]
    fn two_nodes_of_one_name_are_told_apart_and_keep_their_names() {
        let mut displays = Displays::default();
        let (a, b) = (NodeId([1; 32]), NodeId([2; 32]));
        assert_eq!(displays.of(a, "mac"), "mac");
        assert_eq!(displays.of(b, "mac"), "mac (02020202)");
        assert_eq!(displays.of(a, "mac"), "mac");
        assert_eq!(displays.of(b, "pc\x1b[31m"), "pc [31m");
    }

    #[test]
    fn twins_are_numbered_and_long_names_cut_between_characters() {
        let port = |id: u16, identity: &str| DevicePort {
            id: PortId(id),
            source: true,
            destination: false,
            name: "Keys".into(),
            identity: identity.into(),
        };
        let all = [port(1, "b"), port(2, "a")];
        assert_eq!(port_name(&all[0], &all), "Keys 2");
        assert_eq!(port_name(&all[1], &all), "Keys");
        assert_eq!(cut("äöü", 3), "ä");
    }
}
