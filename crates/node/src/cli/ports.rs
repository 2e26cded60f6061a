//! `midip2p ports`: the MIDI ports of a node, its own and those of its peers.

use serde_json::Value;

use super::client::Client;
use super::exit::Exit;
use super::listing::{self, ListArgs, Listing, text_at};
use super::text::{Paint, Table};

/// List the MIDI ports of all machines.
///
/// A source gives MIDI (a keyboard, a sequencer's output), a destination takes it (a synthesizer). Ports
/// of other machines stand there as "PORT @ NODE".
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p ports\n  midip2p ports --watch\n  midip2p ports --json | grep destination"
)]
pub(super) struct PortsArgs {
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn run(PortsArgs { list: args }: &PortsArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let listing =
        Listing { path: "/midi/devices", key: "ports", json: args.json, watch: args.watch };
    listing::show(&client, &listing, |ports| table(ports, &client.name))
}

fn table(ports: &[Value], node: &str) -> String {
    if ports.is_empty() {
        return format!(
            "{node} has no MIDI ports yet. Connect a device, start a program that has MIDI, \
             or open one with `midip2p up --app-port NAME`.\n"
        );
    }
    let mut table = Table::new(&["NAME", "DIRECTION", "NODE", "KIND", "ROUTES", ""], &[4]);
    for port in ports {
        let exported = port.get("exported").and_then(Value::as_bool).unwrap_or(true);
        table.row([
            text_at(port, "name"),
            text_at(port, "direction"),
            text_at(port, "node"),
            text_at(port, "kind"),
            text_at(port, "routes"),
            match (exported, port.get("looped").and_then(Value::as_bool)) {
                (_, Some(true)) => "loop cut".to_owned(),
                (false, _) => "not exported".to_owned(),
                (true, _) => String::new(),
            },
        ]);
    }
    Paint::stdout().head(&table.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_stand_in_a_table() {
        let ports = [
            json!({"name":"Keys","direction":"source","local":true,"node":"pc","kind":"alsa",
                "identity":"x","exported":true,"routes":2}),
            json!({"name":"Secret","direction":"destination","local":true,"node":"pc","kind":"app",
                "identity":"y","exported":false,"routes":0}),
        ];
        let text = table(&ports, "pc");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "Keys    source       pc    alsa       2");
        assert_eq!(lines[2], "Secret  destination  pc    app        0  not exported");
        assert!(table(&[], "pc").contains("--app-port"));
    }
}
