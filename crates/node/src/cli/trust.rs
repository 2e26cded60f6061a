//! `midip2p trust`: who may play here.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use midip2p_proto::id::NodeId;
use midip2p_proto::pairing::Code;
use serde_json::{Value, json};

use super::client::{Client, NodeChoice};
use super::exit::{Exit, bad_input};
use super::listing::{self, ListArgs, Listing, text_at};
use super::output;
use super::text::{Paint, Table, escape};
use crate::os::trusted::Right;
use crate::session::names::closest;

/// How long the other node may take to answer a confirmation.
const WITHIN: Duration = Duration::from_secs(2);
/// How long somebody may take to ask for the code at the other machine; a script has less patience.
const ASKED_WITHIN: Duration = Duration::from_secs(300);
const ASKED_WITHIN_SCRIPT: Duration = Duration::from_secs(20);
/// After this it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fewer digits are too few to mean an id.
const ID_DIGITS: usize = 4;

/// See and say who may play here.
///
/// A node that finds another for the first time waits until somebody has confirmed it on both machines. Say
/// `trust add` on each: both then show the same six digits, if nobody stands in between. Nodes of one user on one machine need not be confirmed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p trust                             who is trusted, and who wants to connect
  midip2p trust add stage                   on both machines: compare the code, and say yes
  midip2p trust add stage --may receive     it hears this machine, and plays nothing here
  midip2p trust add stage --code 123456     for scripts: yes, if that is the code
  midip2p trust rm stage                    the link ends at once

A class or a band that trusts everybody on its network: midip2p up --trust lan")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct TrustArgs {
    #[command(subcommand)]
    verb: Option<TrustVerb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum TrustVerb {
    /// List who is trusted, and who wants to connect
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Trust a node: after comparing the code that both machines show
    Add(AddArgs),
    /// Begin to compare codes with a node, as `add` does, and go on at once: for scripts, `list` has the code when
    /// the other machine was asked as well
    Ask(OneArgs),
    /// Trust a node no longer: the link ends at once, and what it held is released
    #[command(visible_alias = "remove")]
    Rm(OneArgs),
    /// Refuse a node that wants to connect; after three times it is not asked about for ten minutes
    Refuse(OneArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Which node: its name, the beginning of its id, its address; or its whole id, compared by other means
    peer: String,
    /// The code that both machines show; then nothing is asked
    #[arg(long, value_name = "CODE")]
    code: Option<Code>,
    /// What it may do, with commas between: send (its notes are played here), receive (it hears this node),
    /// route, playhead, reset (panic) [default: all]
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',')]
    may: Option<Vec<Right>>,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Which node: its name, the beginning of its id, or its address
    peer: String,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &TrustArgs) -> anyhow::Result<Exit> {
    match &args.verb {
        None => list(&args.list),
        Some(TrustVerb::List(args)) => list(args),
        Some(TrustVerb::Add(args)) => add(args),
        Some(TrustVerb::Ask(args)) => ask(args),
        Some(TrustVerb::Rm(args)) => remove(args),
        Some(TrustVerb::Refuse(args)) => refuse(args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let listing = Listing { path: "/trust", key: "peers", json: args.json, watch: args.watch };
    listing::show(&client, &listing, |peers| table(peers, &client.name))
}

fn table(peers: &[Value], node: &str) -> String {
    if peers.is_empty() {
        return format!(
            "{node} trusts no other node yet, and none wants to connect. Run `midip2p up` on another \
             machine of this network.\n"
        );
    }
    let mut table = Table::new(&["NAME", "TRUST", "CODE", "MAY", "STATE", "ADDRESS", "ID"], &[]);
    let mut hints = String::new();
    for peer in peers {
        let name = text_at(peer, "name");
        let short: String = text_at(peer, "id").chars().take(8).collect();
        let (trust, state) = match (text_at(peer, "trust").as_str(), is(peer, "confirmed_here")) {
            ("waiting", true) => ("waits for the other side".to_owned(), "pairing".to_owned()),
            ("waiting", false) => ("wants to connect".to_owned(), "pairing".to_owned()),
            ("passphrase", _) => ("by the passphrase".to_owned(), text_at(peer, "state")),
            (trust, _) => (trust.to_owned(), text_at(peer, "state")),
        };
        if wants(peer) {
            // The name is a stranger's: it is not put where a shell would read it.
            hints.push_str(&format!(
                "If you know {}: midip2p trust add {short}, there as well\n",
                escape(&name)
            ));
        }
        let may = peer.get("may").and_then(Value::as_array).map(|may| {
            let all: Vec<&str> = may.iter().filter_map(Value::as_str).collect();
            match all.len() {
                5 => "everything".to_owned(),
                0 => "nothing".to_owned(),
                _ => all.join(", "),
            }
        });
        let (code, address) = (text_at(peer, "code"), text_at(peer, "address"));
        table.row([name, trust, code, may.unwrap_or_default(), state, address, short]);
    }
    let text = Paint::stdout().head(&table.to_string());
    if hints.is_empty() { text } else { format!("{text}\n{hints}") }
}

fn is(peer: &Value, key: &str) -> bool {
    peer.get(key).and_then(Value::as_bool) == Some(true)
}

fn is_waiting(peer: &Value) -> bool {
    text_at(peer, "trust") == "waiting"
}

/// Whether somebody here is to decide about it.
fn wants(peer: &Value) -> bool {
    is_waiting(peer) && !is(peer, "confirmed_here")
}

fn peers(client: &Client) -> anyhow::Result<Vec<Value>> {
    let answer = client.get("/trust")?;
    match answer.get("peers").and_then(Value::as_array) {
        Some(peers) => Ok(peers.clone()),
        None => bail!("{} did not answer as a node does; is it one?", client.place),
    }
}

/// The node that is meant: by its name, the beginning of its id, or its address.
fn find<'a>(peers: &'a [Value], asked: &str) -> anyhow::Result<&'a Value> {
    let lower = asked.trim().to_lowercase();
    let host = |peer: &Value| {
        let address = text_at(peer, "address");
        let host = address.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
        (address, host.trim_matches(['[', ']']).to_owned())
    };
    let by_id = |p: &Value| lower.len() >= ID_DIGITS && text_at(p, "id").starts_with(&lower);
    let by_address = |p: &Value| {
        let (address, host) = host(p);
        !lower.is_empty() && (address == lower || host == lower)
    };
    let named = |p: &Value| text_at(p, "name").to_lowercase() == lower;
    // A name is what somebody calls itself: it may be the id or the address of another.
    if let Some(one) = peers.iter().find(|p| text_at(p, "id") == lower) {
        return Ok(one);
    }
    let found: Vec<&Value> =
        peers.iter().filter(|p| named(p) || by_id(p) || by_address(p)).collect();
    match found.as_slice() {
        [] => {}
        [one] => return Ok(one),
        several => {
            let which: Vec<String> = several
                .iter()
                .map(|p| {
                    let short: String = text_at(p, "id").chars().take(8).collect();
                    format!("{} ({short}, {})", escape(&text_at(p, "name")), text_at(p, "address"))
                })
                .collect();
            return Err(bad_input(format!(
                "several nodes are meant by {asked:?}: say which by more of its id: {}",
                which.join(", ")
            )));
        }
    }
    let names: Vec<String> = peers.iter().map(|p| text_at(p, "name")).collect();
    let near = closest(names.iter().map(String::as_str), asked);
    Err(bad_input(match near.first() {
        Some(near) => format!("no node {asked:?} is trusted or waits; did you mean {near:?}?"),
        None => format!(
            "no node {asked:?} is trusted or waits; `midip2p trust` lists those that do. Before it has \
             been seen a node is named by its whole id"
        ),
    }))
}

fn add(args: &AddArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let known = peers(&client)?;
    let may = args.may.as_ref().map(|may| {
        let names: Vec<String> = may.iter().map(|right| text_of(*right)).collect();
        format!("&may={}", names.join(","))
    });
    let may = may.unwrap_or_default();
    let peer = match find(&known, &args.peer) {
        Ok(peer) => peer.clone(),
        Err(error) => match args.peer.trim().parse::<NodeId>().ok() {
            // Its owner has read it to somebody here.
            Some(id) => json!({ "id": id.to_string(), "name": id.short().to_string() }),
            None => return Err(error),
        },
    };
    let id = text_at(&peer, "id");
    let by_whole_id = args.peer.trim().eq_ignore_ascii_case(&id);
    let code = match args.code {
        _ if by_whole_id || !wants(&peer) => args.code,
        asked => match compared(&client, &peer, asked)? {
            Some(code) => Some(code),
            None => return Ok(Exit::Failed),
        },
    };
    let code = code.map(|code| format!("code={:06}", code.number())).unwrap_or_default();
    client.decide("POST", &format!("/trust/{id}?{code}{may}"))?;
    let state = settled(&client, &id)?;
    let name = escape(&text_at(&peer, "name"));
    let said = if args.json {
        json!({ "event": "trusted", "id": id, "name": text_at(&peer, "name"), "state": state })
            .to_string()
    } else {
        match state.as_str() {
            "connected" => format!("{name} is trusted, and linked."),
            "pairing" => format!(
                "{name} is trusted here. It waits for the same there: midip2p trust add {}",
                own_short(&client)?
            ),
            _ => format!("{name} is trusted."),
        }
    };
    output::all(format!("{said}\n").as_bytes())?;
    Ok(Exit::Fine)
}

fn text_of(right: Right) -> String {
    match serde_json::to_value(right) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// How the node is named on other machines, whatever stands in its name.
fn own_short(client: &Client) -> anyhow::Result<String> {
    Ok(text_at(&client.get("/node/info")?, "short"))
}

fn ask(args: &OneArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let known = peers(&client)?;
    let peer = find(&known, &args.peer)?;
    client.decide("POST", &format!("/trust/{}/ask", text_at(peer, "id")))?;
    said(args, peer, "asked", "is asked for its part of the code")
}

/// Shows the code, and asks whether the other machine shows the same, unless `code` is it; `None`: it does not.
fn compared(client: &Client, peer: &Value, code: Option<Code>) -> anyhow::Result<Option<Code>> {
    let (id, name) = (text_at(peer, "id"), escape(&text_at(peer, "name")));
    client.decide("POST", &format!("/trust/{id}/ask"))?;
    let is_person = io::stdin().is_terminal() && code.is_none();
    let patience = if is_person { ASKED_WITHIN } else { ASKED_WITHIN_SCRIPT };
    let shown = code_of(client, &id, &name, patience)?;
    if code.is_some() {
        return Ok(code);
    }
    if !is_person {
        return Err(bad_input(format!(
            "the code is {shown}: if {name} shows the same, say --code {:06}",
            shown.number()
        )));
    }
    // On standard error: what is printed may be read by a program.
    eprint!("The code is {shown}. Does {name} show the same? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(Some(shown));
    }
    let short: String = id.chars().take(8).collect();
    eprintln!(
        "Not trusted. Where the codes differ somebody stands in between, or it is another node: \
         midip2p trust refuse {short}"
    );
    Ok(None)
}

/// The code, once somebody has asked for it on both machines.
fn code_of(client: &Client, id: &str, name: &str, patience: Duration) -> anyhow::Result<Code> {
    let (began, mut is_said) = (Instant::now(), false);
    loop {
        let peers = peers(client)?;
        let Some(peer) = peers.iter().find(|p| text_at(p, "id") == id && is_waiting(p)) else {
            bail!("{name} does not wait any more; once it is there again, begin anew")
        };
        if let Ok(code) = text_at(peer, "code").parse() {
            return Ok(code);
        }
        if began.elapsed() > patience {
            bail!(
                "{name} has said no part of the code: say `midip2p trust add {}` there as well, at the \
                 same time; or compare its whole id by other means, and name it by that: {id}",
                own_short(client)?
            );
        }
        if !is_said && began.elapsed() > SAY_AFTER {
            eprintln!("Now the same on {name}: midip2p trust add {}", own_short(client)?);
            is_said = true;
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

/// How things stand once the other node has had time to answer.
fn settled(client: &Client, id: &str) -> anyhow::Result<String> {
    let until = Instant::now() + WITHIN;
    loop {
        let peers = peers(client)?;
        let of_node = || peers.iter().filter(|p| text_at(p, "id") == id);
        let state = of_node().map(|p| text_at(p, "state")).find(|state| !state.is_empty());
        let state = state.unwrap_or_default();
        let waits = of_node().find(|p| is_waiting(p));
        if waits.is_some_and(|p| !is(p, "confirmed_there")) {
            return Ok("pairing".to_owned());
        }
        if state == "connected" || waits.is_none() || Instant::now() > until {
            return Ok(state);
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

fn remove(args: &OneArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let known = peers(&client)?;
    let peer = find(&known, &args.peer)?;
    client.decide("DELETE", &format!("/trust/{}", text_at(peer, "id")))?;
    said(args, peer, "distrusted", "is trusted no longer")
}

fn refuse(args: &OneArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let known = peers(&client)?;
    let peer = find(&known, &args.peer)?;
    client.decide("POST", &format!("/trust/{}/refuse", text_at(peer, "id")))?;
    said(args, peer, "refused", "was refused")
}

fn said(args: &OneArgs, peer: &Value, event: &str, done: &str) -> anyhow::Result<Exit> {
    let (id, name) = (text_at(peer, "id"), text_at(peer, "name"));
    let said = if args.json {
        json!({ "event": event, "id": id, "name": name }).to_string()
    } else {
        format!("{} {done}.", escape(&name))
    };
    output::all(format!("{said}\n").as_bytes())?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, id: &str, trust: &str, here: bool) -> Value {
        json!({"id": id.repeat(8), "name": name, "address": "10.0.0.2:5005", "trust": trust,
            "code": "012 345", "confirmed_here": here, "confirmed_there": false,
            "may": ["send", "receive"], "state": "connected"})
    }

    #[test]
    fn the_list_says_what_is_to_be_done() {
        let waits = [peer("stage\u{1b}", "ab12cd34", "waiting", false)];
        let text = table(&waits, "pc");
        assert!(text.contains("wants to connect") && text.contains("012 345"), "{text}");
        assert!(
            text.contains("stage\\u{1b}: midip2p trust add ab12cd34") && !text.contains('\u{1b}')
        );
        let text = table(&[peer("stage", "ab12cd34", "waiting", true)], "pc");
        assert!(text.contains("waits for the other side") && !text.contains("trust add"));
        let text = table(&[peer("stage", "ab12cd34", "confirmed", true)], "pc");
        assert!(text.contains("send, receive") && text.contains("connected"), "{text}");
        let text = table(&[peer("stage", "ab12cd34", "passphrase", true)], "pc");
        assert!(text.contains("by the passphrase"), "{text}");
        assert!(table(&[], "pc").contains("midip2p up"));
    }

    #[test]
    fn a_node_is_meant_by_name_id_or_address_and_twins_are_told_apart() {
        let mut two = [
            peer("stage", "aaaa0000", "waiting", false),
            peer("booth", "bbbb0000", "waiting", false),
        ];
        two[1]["address"] = "[fe80::1]:5005".into();
        for (asked, want) in
            [("STAGE", 0), ("bbbb", 1), ("10.0.0.2", 0), ("10.0.0.2:5005", 0), ("fe80::1", 1)]
        {
            assert_eq!(find(&two, asked).unwrap(), &two[want], "{asked}");
        }
        assert!(find(&two, "stgae").unwrap_err().to_string().contains("did you mean \"stage\""));
        assert!(find(&two, "").is_err());
        two[1]["name"] = "stage".into();
        let error = find(&two, "stage").unwrap_err().to_string();
        assert!(error.contains("aaaa0000") && error.contains("bbbb0000"), "{error}");
        // Whoever calls itself by the id of another is not it.
        two[1]["name"] = "aaaa0000".repeat(8).into();
        assert_eq!(find(&two, &"aaaa0000".repeat(8)).unwrap(), &two[0]);
        assert!(find(&two, "aaaa0000").is_ok());
        two[1]["name"] = "aaaa0000".into();
        assert!(find(&two, "aaaa0000").is_err());
    }
}
