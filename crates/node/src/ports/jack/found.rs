//! What other clients' ports are: which are exported, what is the same about them each time, and what
//! people call them.

use jack::{Client, PortFlags};

use super::super::Direction;
use super::super::names::{is_ours, readable, steady};
use super::KIND;

/// The first word of the names by which bridges show the sequencer's loop.
const MIDI_THROUGH: &str = "Midi Through";

/// A port of another client, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// "client:port".
    pub(super) full: String,
    pub(super) direction: Direction,
}

/// All ports that are exported.
pub(super) fn find(client: &Client) -> Vec<Found> {
    let midi = Some(jack::jack_sys::RAW_MIDI_TYPE);
    let mut all = Vec::new();
    for (flags, direction) in
        [(PortFlags::IS_OUTPUT, Direction::Source), (PortFlags::IS_INPUT, Direction::Destination)]
    {
        for full in client.ports(None, midi, flags) {
            if is_exported(&full) {
                all.push(Found { full, direction });
            }
        }
    }
    all
}

/// Not ours, not one by which a bridge (a2jmidid, PipeWire) shows our sequencer ports, and not the
/// sequencer's own loop.
fn is_exported(full: &str) -> bool {
    let (client, port) = full.split_once(':').unwrap_or((full, ""));
    !is_ours(client) && !is_ours(port) && !port.starts_with(MIDI_THROUGH)
}

/// What a port's identity is made of, and what people call it.
pub(super) fn describe(client: &Client, full: &str) -> (String, String) {
    let (owner, port) = full.split_once(':').unwrap_or(("", full));
    // The server's own ports are numbered; their alias names the device.
    let alias = (owner == "system")
        .then(|| client.port_by_name(full)?.aliases().ok()?.into_iter().next())
        .flatten();
    let port = alias.as_deref().map_or(port, |a| a.split_once(':').map_or(a, |(_, port)| port));
    named(owner, port)
}

fn named(owner: &str, port: &str) -> (String, String) {
    let (owner, port) = (steady(owner), steady(port));
    // Bridges put the client before the port's own name: "Keys (capture): Keys MIDI 1".
    let own = port.rsplit_once("): ").map(|(_, own)| own.to_owned());
    let name = own.unwrap_or_else(|| readable(&owner, &port));
    (format!("{KIND}:{owner}/{port}"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_ports_are_known_behind_bridges_too() {
        for (full, exported) in [
            ("Seq:out", true),
            ("midip2p:Keys @ studio-mac", false),
            ("midip2p-b:to Seq", false),
            ("a2j:Keys [20] (capture): Keys MIDI 1", true),
            ("a2j:midip2p [130] (capture): Keys @ studio-mac", false),
            ("Midi-Bridge:midip2p:(capture_0) Keys @ studio-mac", false),
            ("Midi-Bridge:Midi Through:(capture_0) Midi Through Port-0", false),
            ("a2j:Midi Through [14] (playback): Midi Through Port-0", false),
        ] {
            assert_eq!(is_exported(full), exported, "{full}");
        }
    }

    #[test]
    fn names_are_for_people_and_identities_without_numbers() {
        let a2j = named("a2j", "Keys [20] (capture): Keys MIDI 1");
        assert_eq!(a2j, ("jack:a2j/Keys (capture): Keys MIDI 1".into(), "Keys MIDI 1".into()));
        assert_eq!(named("Seq", "out"), ("jack:Seq/out".into(), "Seq: out".into()));
    }
}
