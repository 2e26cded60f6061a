//! `midip2p browser`: a link that lets a browser in.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::client::{self, Client, NodeChoice};
use super::exit::Exit;
use super::output;
use super::text::escape;

/// Let a browser in: print a link to the node's page, which works once.
///
/// Follow it within ten minutes; the browser is known until the node ends then, or, where it speaks TLS, for 30
/// days. Whoever has the link is let in: do not put it where others can read it, a command line for one. Where the node takes requests from other machines (`up --http-address`), there
/// is a link for each of its addresses: follow one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p browser
  midip2p up --http-address 0.0.0.0 --http-tls      so that a telephone may come as well")]
pub(super) struct BrowserArgs {
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object with the links, and how long they are good for, in seconds
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BrowserArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let (status, answer) = client.ask("/browser")?;
    if status != 200 {
        bail!("{} gave no link: {}", client.name, client::why(&answer));
    }
    if args.json {
        output::all(format!("{answer}\n").as_bytes())?;
        return Ok(Exit::Fine);
    }
    let links = answer.get("links").and_then(Value::as_array);
    let links = links.context("the node gave no link; is it of this version?")?;
    let lines: String =
        links.iter().filter_map(Value::as_str).map(|link| format!("{}\n", escape(link))).collect();
    output::all(lines.as_bytes())?;
    let seconds = answer.get("seconds").and_then(Value::as_u64).unwrap_or(0);
    eprintln!("It works once, within {} minutes.", seconds / 60);
    Ok(Exit::Fine)
}
