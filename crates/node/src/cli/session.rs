//! `midip2p session`: named groups of nodes, each with a bus of its own.

use serde_json::{Value, json};

use super::client::{Client, Method, NodeChoice};
use super::exit::Exit;
use super::listing::{self, ListArgs, Listing, text_at};
use super::output;
use super::text::{Paint, Table, escape};

/// See and join sessions.
///
/// All nodes that trust each other play together. Where that is too many, a session is a group with a bus of its own:
/// ports are connected only where they share one. A node is in it with all its ports, or with some; what is in no
/// session stays with all who are in none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p session                               the sessions there are, and who is in them
  midip2p session create red                    on one node, then on the others:
  midip2p session join red
  midip2p session join blue --port \"Piano 2\"    one port only: two pianists at one node, each in a session
  midip2p session leave red")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SessionArgs {
    #[command(subcommand)]
    verb: Option<SessionVerb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum SessionVerb {
    /// List the sessions that this node or a peer is in
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Begin a session, and be its first node
    Create(JoinArgs),
    /// Join a session; said again, it changes the ports with which this node is in it
    Join(JoinArgs),
    /// Leave a session; what its routes held is released
    Leave(LeaveArgs),
}

#[derive(Debug, clap::Args)]
struct JoinArgs {
    /// The session's name; case does not count
    name: String,
    /// Only ports of that name, with * for any text and ? for one character; repeatable [default: all]
    #[arg(long = "port", value_name = "PATTERN")]
    ports: Vec<String>,
    #[command(flatten)]
    node: NodeChoice,
}

#[derive(Debug, clap::Args)]
struct LeaveArgs {
    /// The session's name
    name: String,
    #[command(flatten)]
    node: NodeChoice,
}

pub(super) fn run(args: &SessionArgs) -> anyhow::Result<Exit> {
    match &args.verb {
        None => list(&args.list),
        Some(SessionVerb::List(args)) => list(args),
        Some(SessionVerb::Create(args)) => {
            let client = Client::find(&args.node)?;
            let body = json!({ "name": args.name, "ports": args.ports });
            client.give(Method::Post, "/sessions", &body)?;
            said(&client, &args.name, "created, and joined by")
        }
        Some(SessionVerb::Join(args)) => {
            let client = Client::find(&args.node)?;
            let body = json!({ "ports": args.ports });
            client.give(Method::Put, &place(&args.name), &body)?;
            said(&client, &args.name, "joined by")
        }
        Some(SessionVerb::Leave(args)) => {
            let client = Client::find(&args.node)?;
            client.decide("DELETE", &place(&args.name))?;
            said(&client, &args.name, "left by")
        }
    }
}

/// Where a session is, whatever stands in its name.
fn place(name: &str) -> String {
    let mut path = "/sessions/".to_owned();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

fn said(client: &Client, name: &str, what: &str) -> anyhow::Result<Exit> {
    let line = format!("The session {} is {what} {}.\n", escape(name), client.name);
    output::all(line.as_bytes())?;
    Ok(Exit::Fine)
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let listing =
        Listing { path: "/sessions", key: "sessions", json: args.json, watch: args.watch };
    listing::show(&client, &listing, |sessions| table(sessions, &client.name))
}

fn table(sessions: &[Value], node: &str) -> String {
    if sessions.is_empty() {
        return format!(
            "{node} knows no session: all nodes that trust each other play together. Begin one: midip2p session \
             create NAME\n"
        );
    }
    let mut table = Table::new(&["SESSION", "NODE", "PORTS"], &[]);
    for session in sessions {
        let members = session.get("members").and_then(Value::as_array);
        for (n, member) in members.into_iter().flatten().enumerate() {
            let name = if n == 0 { text_at(session, "name") } else { String::new() };
            let ports: Vec<&str> = member
                .get("ports")
                .and_then(Value::as_array)
                .map(|ports| ports.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            table.row([name, text_at(member, "name"), ports.join(", ")]);
        }
    }
    Paint::stdout().head(&table.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_stand_in_a_table_and_names_in_a_path() {
        let session = json!({"name":"red","members":[
            {"id":"x","name":"pc","this":true,"ports":["Keys","Synth"]},
            {"id":"y","name":"mac","this":false,"ports":[]}]});
        let text = table(&[session], "pc");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].trim_end(), "red      pc    Keys, Synth");
        assert_eq!(lines[2].trim_end(), "         mac");
        assert!(table(&[], "pc").contains("session create"));
        assert_eq!(place("a/b ü?"), "/sessions/a%2Fb%20%C3%BC%3F");
    }
}
