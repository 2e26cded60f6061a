//! `midip2p panic`: everything silent, everywhere.

use serde_json::{Value, json};

use super::client::{Client, NodeChoice};
use super::exit::Exit;
use super::output;
use super::text::count;

/// Silence everything, everywhere.
///
/// On this node and on every node linked with it all notes end, pedals go up and pitch bends to their
/// centre.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p panic\n  midip2p panic --node stage\n\nA key of a controller can do the same: see `midip2p up --help`, --panic-on."
)]
pub(super) struct PanicArgs {
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PanicArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    client.decide("POST", "/panic")?;
    let mesh = client.get("/network/mesh")?;
    let peers = linked(&mesh);
    let said = if args.json {
        json!({ "event": "panic", "node": client.name, "peers": peers }).to_string()
    } else if peers == 0 {
        format!("Silence on {}; no other node is linked with it.", client.name)
    } else {
        format!("Silence on {} and {}.", client.name, count(peers, "linked node"))
    };
    output::all(format!("{said}\n").as_bytes())?;
    Ok(Exit::Fine)
}

/// How many peers are linked.
pub(super) fn linked(mesh: &Value) -> usize {
    let peers = mesh.get("peers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    peers.iter().filter(|p| p.get("state").and_then(Value::as_str) == Some("connected")).count()
}
