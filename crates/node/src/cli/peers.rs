//! `midip2p peers`: the other nodes that a node knows, and how the links are.

use serde_json::Value;

use super::client::Client;
use super::exit::Exit;
use super::listing::{self, ListArgs, Listing, text_at};
use super::text::{Paint, Table, duration_us, escape, minutes, thousands};

/// List the other nodes and how the links are.
///
/// Which are linked, how far away they are, what was sent and received, what the network lost and was
/// repaired, and what was lost in spite of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p peers\n  midip2p peers --watch\n  midip2p peers --json"
)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn run(PeersArgs { list: args }: &PeersArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let listing =
        Listing { path: "/network/mesh", key: "peers", json: args.json, watch: args.watch };
    listing::show(&client, &listing, |peers| table(peers, &client.name))
}

fn table(peers: &[Value], node: &str) -> String {
    if peers.is_empty() {
        return format!(
            "{node} knows no other node. Run `midip2p up` on another machine of this network, or \
             name one with `midip2p up --peer HOST`.\n"
        );
    }
    let headings = [
        "NAME",
        "STATE",
        "ADDRESS",
        "BY",
        "ROUND TRIP",
        "SENT",
        "RECEIVED",
        "REPAIRED",
        "LOST",
        "SINCE",
    ];
    let mut table = Table::new(&headings, &[4, 5, 6, 7, 8, 9]);
    let mut whys = String::new();
    for peer in peers {
        let number = |key: &str| peer.get(key).and_then(Value::as_u64);
        let shown = |key: &str| number(key).map(thousands).unwrap_or_default();
        let name = named(peer);
        if let Some(why) = peer.get("why").and_then(Value::as_str) {
            whys.push_str(&format!("{}: {}\n", escape(&name), escape(why)));
        }
        let round_trip = peer.get("rtt_us").and_then(Value::as_f64).map(duration_us);
        table.row([
            name,
            state(peer),
            text_at(peer, "address"),
            way(peer).to_owned(),
            round_trip.unwrap_or_default(),
            shown("events_sent"),
            shown("events_received"),
            shown("events_recovered"),
            shown("events_lost"),
            number("connected_ms").map(|ms| minutes(ms / 1_000)).unwrap_or_default(),
        ]);
    }
    let text = Paint::stdout().head(&table.to_string());
    if whys.is_empty() { text } else { format!("{text}\n{whys}") }
}

/// How things stand; a client is connected as long as it is there at all.
fn state(peer: &Value) -> String {
    if text_at(peer, "kind") == "client" { "client".to_owned() } else { text_at(peer, "state") }
}

/// What carries its notes.
fn way(peer: &Value) -> &'static str {
    match (text_at(peer, "transport").as_str(), text_at(peer, "path").as_str()) {
        ("tcp", _) => "TCP",
        (_, "stream") => "TCP, UDP is blocked",
        (_, "datagrams") => "UDP",
        _ => "",
    }
}

/// A peer's name; one that was not reached yet has none, but an address.
fn named(peer: &Value) -> String {
    let name = text_at(peer, "name");
    if name.is_empty() { text_at(peer, "address") } else { name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn peers_stand_in_a_table_and_the_unreached_say_why() {
        let peers = [
            json!({"id":"ab","name":"mac","address":"10.0.0.2:5005","state":"connected",
                "kind":"node","transport":"dual","path":"datagrams","rtt_us":850,"connected_ms":65_000,"events_sent":1234,"events_received":5,
                "events_recovered":1,"events_lost":0,"why":null}),
            json!({"id":null,"name":"","address":"10.0.0.9:5005","state":"backoff",
                "why":"connection refused\x1b"}),
        ];
        let text = table(&peers, "pc");
        let rows: Vec<&str> = text.lines().collect();
        let cells: Vec<&str> = rows[1].split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "mac",
                "connected",
                "10.0.0.2:5005",
                "UDP",
                "850",
                "µs",
                "1,234",
                "5",
                "1",
                "0",
                "1:05"
            ]
        );
        assert_eq!(rows[4], "10.0.0.9:5005: connection refused\\u{1b}");
        assert!(table(&[], "pc").contains("--peer"));
    }

    #[test]
    fn what_carries_the_notes_is_shown_and_who_is_a_client() {
        let peer = |kind: &str, transport: Option<&str>, path: Option<&str>| {
            json!({"name":"x","kind":kind,"state":"connected","address":"10.0.0.2:5005",
                "transport":transport,"path":path})
        };
        for (peer, state, by) in [
            (peer("node", Some("dual"), Some("datagrams")), "connected", "UDP"),
            (peer("node", Some("dual"), Some("stream")), "connected", "TCP, UDP is blocked"),
            (peer("node", Some("tcp"), Some("stream")), "connected", "TCP"),
            (peer("client", Some("tcp"), None), "client", "TCP"),
            (peer("node", None, None), "connected", ""),
        ] {
            let text = table(&[peer], "pc");
            let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(cells[..2], ["x", state]);
            assert_eq!(cells[3..].join(" "), by);
        }
    }
}
