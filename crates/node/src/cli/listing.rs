//! What `ports` and `peers` share: a list from a node, once or whenever it changes.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::client::{Client, NodeChoice};
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::output;

/// How often a watched list is asked for.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Clears a terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What every list takes.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) node: NodeChoice,
    /// One JSON object a line, for scripts
    #[arg(long)]
    pub(super) json: bool,
    /// Go on, and show the list anew whenever it changes
    #[arg(long)]
    pub(super) watch: bool,
}

/// A list that a node has.
pub(super) struct Listing {
    /// Where.
    pub(super) path: &'static str,
    /// Under which key of the answer.
    pub(super) key: &'static str,
    /// Whether to print JSON lines instead of a table.
    pub(super) json: bool,
    /// Whether to go on.
    pub(super) watch: bool,
}

/// Prints the list, again and again if it is watched.
pub(super) fn show(
    client: &Client,
    listing: &Listing,
    table: impl Fn(&[Value]) -> String,
) -> anyhow::Result<Exit> {
    let print = |text: &str| output::all(text.as_bytes());
    if !listing.watch {
        return print(&render(client, listing, &table)?).map(|_| Exit::Fine);
    }
    let mut inbox = Inbox::new()?;
    let clear = io::stdout().is_terminal() && !listing.json;
    let mut shown = String::new();
    loop {
        let text = render(client, listing, &table)?;
        if text != shown {
            let text = if clear { format!("{CLEAR}{text}") } else { text.clone() };
            if print(&text)? == output::Open::No {
                return Ok(Exit::Fine);
            }
            io::stdout().flush()?;
        }
        shown = text;
        if let Some(Input::Signal) = inbox.next_within(WATCH_EVERY) {
            return Ok(Exit::Fine);
        }
    }
}

fn render(
    client: &Client,
    listing: &Listing,
    table: &impl Fn(&[Value]) -> String,
) -> anyhow::Result<String> {
    let answer = client.get(listing.path)?;
    let items = answer.get(listing.key).and_then(Value::as_array).with_context(|| {
        format!("{} did not answer {} as a node does; is it one?", client.place, listing.path)
    })?;
    if !listing.json {
        return Ok(table(items));
    }
    Ok(items.iter().map(|item| format!("{item}\n")).collect())
}

/// A value as people read it; nothing when it is not there.
pub(super) fn text_at(object: &Value, key: &str) -> String {
    match object.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
