//! `midip2p route`: routes of one's own, with filters, maps and transposition.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{Client, Method, NodeChoice};
use super::exit::Exit;
use super::listing::{self, ListArgs, Listing, text_at};
use super::output;
use super::text::{Paint, Table, escape, thousands};
use crate::routing::FilterJson;

/// See and make routes between ports.
///
/// Without any, a port of another machine is there for whoever connects to it. A route connects two ports itself, also
/// where no program could, and makes of what passes what you want: one keyboard on two synthesizers, split in the
/// middle; drums on channel 10; a wheel that turns another knob. It is kept, and found again when its ports come back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p route                                             the routes, and what passed
  midip2p route add Keys \"Synth @ stage\"                    play the stage's synthesizer
  midip2p route add Keys \"Bass @ stage\" --notes C-1-B2 --transpose -12
  midip2p route add Pads Drums --to-channel 10 --only notes
  midip2p route add Keys Lead --map-controller 1:74         the wheel opens the filter
  midip2p route disable 3                                   and enable it again, as it was
  midip2p route rm 3")]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct RouteArgs {
    #[command(subcommand)]
    verb: Option<RouteVerb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum RouteVerb {
    /// List the routes, how each is doing, and what passed
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Make a route from a source to a destination
    Add(Box<AddArgs>),
    /// Change what a route lets through, or its priority: a filter is given anew, as a whole
    Set(Box<SetArgs>),
    /// Remove routes; what they held is released
    #[command(visible_alias = "remove")]
    Rm(ManyArgs),
    /// Put routes in force again
    Enable(ManyArgs),
    /// Put routes out of force, and keep them; what they held is released
    Disable(ManyArgs),
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The source: PORT, or "PORT @ NODE"
    from: String,
    /// The destination: PORT, or "PORT @ NODE"; one of the two is of this node
    to: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Of several routes from one source the highest is served first, 0 to 255
    #[arg(long, value_name = "N", default_value_t = 0)]
    priority: u8,
    /// Make it, and put it in force later
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Which: its number in the list
    id: u32,
    #[command(flatten)]
    filter: FilterArgs,
    /// Let everything through as it is
    #[arg(long, conflicts_with = "filter")]
    everything: bool,
    /// Of several routes from one source the highest is served first, 0 to 255
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ManyArgs {
    /// Which: their numbers in the list
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u32>,
    #[command(flatten)]
    node: NodeChoice,
}

/// What passes, and as what.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "filter", multiple = true)]
struct FilterArgs {
    /// Only these, with commas between: notes, pressure, controllers, programs, bends, sysex, clock, system
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind, conflicts_with = "without")]
    only: Option<Vec<String>>,
    /// All but these
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    without: Option<Vec<String>>,
    /// Only these channels: 1, 3-5
    #[arg(long, value_name = "CHANNELS", value_parser = channels)]
    channels: Option<Channels>,
    /// Only notes in this range, before they are transposed: 36-59, or C2-B3 (note 60 is C4)
    #[arg(long, value_name = "LOW-HIGH", value_parser = notes, allow_hyphen_values = true)]
    notes: Option<Notes>,
    /// Semitones up, or down with a minus
    #[arg(long, value_name = "SEMITONES", allow_negative_numbers = true, value_parser = clap::value_parser!(i8).range(-127..))]
    transpose: Option<i8>,
    /// All channels become this one
    #[arg(long, value_name = "CHANNEL", value_parser = clap::value_parser!(u8).range(1..=16), conflicts_with = "map_channel")]
    to_channel: Option<u8>,
    /// Channels that become others, with commas between: 1:2,3:10
    #[arg(long, value_name = "FROM:TO", value_delimiter = ',', value_parser = |text: &str| pair(text, 1..=16))]
    map_channel: Option<Vec<(u8, u8)>>,
    /// Controllers that become others, eight at most, with commas between: 1:74,2:11
    #[arg(long, value_name = "FROM:TO", value_delimiter = ',', value_parser = |text: &str| pair(text, 0..=119))]
    map_controller: Option<Vec<(u8, u8)>>,
}

/// Channels, 1 to 16.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Channels(Vec<u8>);

/// The lowest and the highest note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Notes(u8, u8);

impl FilterArgs {
    fn is_given(&self) -> bool {
        self.json() != FilterJson::default()
    }

    fn json(&self) -> FilterJson {
        use midip2p_proto::data::filter::Kinds;
        let left = self.without.as_ref().map(|without| {
            let names = Kinds::ALL.names().filter(|name| !without.iter().any(|w| w == name));
            names.map(str::to_owned).collect()
        });
        let channel_map = match (self.to_channel, &self.map_channel) {
            (Some(to), _) => (1..=16).map(|from| (from, to)).collect(),
            (None, pairs) => pairs.iter().flatten().copied().collect(),
        };
        FilterJson {
            kinds: self.only.clone().or(left),
            channels: self.channels.as_ref().map(|channels| channels.0.clone()),
            notes: self.notes.map(|Notes(low, high)| [low, high]),
            transpose: self.transpose,
            channel_map,
            controllers: self.map_controller.iter().flatten().copied().collect(),
        }
    }
}

fn kind(name: &str) -> Result<String, String> {
    use midip2p_proto::data::filter::Kinds;
    let name = name.trim().to_lowercase();
    match Kinds::named(&name) {
        Some(_) => Ok(name),
        None => Err(format!("there are {}", Kinds::ALL)),
    }
}

fn channels(text: &str) -> Result<Channels, String> {
    let one = |text: &str| match text.trim().parse::<u8>() {
        Ok(channel @ 1..=16) => Ok(channel),
        _ => Err(format!("{text:?} is no channel: they are 1 to 16, as in 1,3-5")),
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (one(first)?, one(last)?);
                if first > last {
                    return Err(format!("{part:?} goes down: say {last}-{first}"));
                }
                all.extend(first..=last);
            }
            None => all.push(one(part)?),
        }
    }
    Ok(Channels(all))
}

/// A range of notes. Octaves may be negative, so that any of the hyphens may be the one between.
fn notes(text: &str) -> Result<Notes, String> {
    let range = text
        .match_indices('-')
        .find_map(|(at, _)| Some((note(text.get(..at)?)?, note(text.get(at + 1..)?)?)));
    match range.or_else(|| note(text).map(|only| (only, only))) {
        Some((low, high)) if low <= high => Ok(Notes(low, high)),
        Some(_) => Err("the lower note comes first".to_owned()),
        None => Err("notes are 0 to 127, or C-1 to G9, as in 36-59 or C2-B3".to_owned()),
    }
}

/// A note by its number or its name; 60 is C4.
fn note(text: &str) -> Option<u8> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u8>() {
        return Some(number).filter(|number| *number < 128);
    }
    let mut chars = text.chars();
    let step = match chars.next()?.to_ascii_uppercase() {
        'C' => 0,
        'D' => 2,
        'E' => 4,
        'F' => 5,
        'G' => 7,
        'A' => 9,
        'B' | 'H' => 11,
        _ => return None,
    };
    let rest = chars.as_str();
    let (shift, octave) = match rest.chars().next()? {
        '#' | '♯' => (1, rest.strip_prefix(['#', '♯'])?),
        'b' | '♭' => (-1, rest.strip_prefix(['b', '♭'])?),
        _ => (0, rest),
    };
    let octave: i16 = octave.parse().ok().filter(|octave| (-1..=9).contains(octave))?;
    u8::try_from((octave + 1) * 12 + step + shift).ok().filter(|number| *number < 128)
}

fn pair(text: &str, range: core::ops::RangeInclusive<u8>) -> Result<(u8, u8), String> {
    let number = |text: &str| text.trim().parse::<u8>().ok().filter(|n| range.contains(n));
    let both = text.split_once(':').and_then(|(from, to)| Some((number(from)?, number(to)?)));
    both.ok_or_else(|| {
        format!("it is FROM:TO, both from {} to {}, as in 1:2", range.start(), range.end())
    })
}

pub(super) fn run(args: &RouteArgs) -> anyhow::Result<Exit> {
    match &args.verb {
        None => list(&args.list),
        Some(RouteVerb::List(args)) => list(args),
        Some(RouteVerb::Add(args)) => add(args),
        Some(RouteVerb::Set(args)) => set(args),
        Some(RouteVerb::Rm(args)) => each(args, |client, id| {
            client.decide("DELETE", &place(id))?;
            Ok(format!("Route {id} is removed.\n"))
        }),
        Some(RouteVerb::Enable(args)) => enable(args, true),
        Some(RouteVerb::Disable(args)) => enable(args, false),
    }
}

fn place(id: u32) -> String {
    format!("/routing/routes/{id}")
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let listing =
        Listing { path: "/routing/routes", key: "routes", json: args.json, watch: args.watch };
    listing::show(&client, &listing, |routes| table(routes, &client.name))
}

fn table(routes: &[Value], node: &str) -> String {
    if routes.is_empty() {
        return format!(
            "{node} has no routes of its own: ports of other machines are there for whoever connects to them. \
             Make one: midip2p route add FROM TO\n"
        );
    }
    let headings = ["ID", "FROM", "TO", "STATE", "PASSED", "PRIORITY", "ONLY"];
    let mut table = Table::new(&headings, &[0, 4, 5]);
    for route in routes {
        let name = |end: &str| route.get(end).map(|end| text_at(end, "name")).unwrap_or_default();
        let passed = route.get("messages").and_then(Value::as_u64).map(thousands);
        let filter = route.get("filter").cloned().unwrap_or_default();
        table.row([
            text_at(route, "id"),
            name("from"),
            name("to"),
            text_at(route, "state"),
            passed.unwrap_or_default(),
            text_at(route, "priority"),
            serde_json::from_value(filter).map(|filter| in_words(&filter)).unwrap_or_default(),
        ]);
    }
    Paint::stdout().head(&table.to_string())
}

/// What a filter does, in few words; nothing when all passes as it is.
fn in_words(filter: &FilterJson) -> String {
    let list = |numbers: &[u8]| numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let map = |pairs: &BTreeMap<u8, u8>| {
        pairs.iter().map(|(from, to)| format!("{from}:{to}")).collect::<Vec<_>>().join(",")
    };
    let mut words = Vec::new();
    words.extend(filter.kinds.as_ref().map(|kinds| kinds.join(",")));
    words.extend(filter.channels.as_ref().map(|channels| format!("channels {}", list(channels))));
    words.extend(filter.notes.map(|[low, high]| format!("notes {low}-{high}")));
    words.extend(filter.transpose.filter(|n| *n != 0).map(|n| format!("{n:+} semitones")));
    let mut targets = filter.channel_map.values();
    match targets.next() {
        Some(to) if filter.channel_map.len() >= 15 && targets.all(|other| other == to) => {
            words.push(format!("to channel {to}"));
        }
        Some(_) => words.push(format!("channels {}", map(&filter.channel_map))),
        None => {}
    }
    if !filter.controllers.is_empty() {
        words.push(format!("controllers {}", map(&filter.controllers)));
    }
    words.join("; ")
}

fn add(args: &AddArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let body = json!({
        "from": args.from,
        "to": args.to,
        "filter": args.filter.json(),
        "priority": args.priority,
        "enabled": !args.disabled,
    });
    let route = client.give(Method::Post, "/routing/routes", &body)?;
    said(args.json, &route, "made")
}

fn set(args: &SetArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let mut body = json!({});
    if args.everything || args.filter.is_given() {
        body["filter"] = serde_json::to_value(args.filter.json())?;
    }
    if let Some(priority) = args.priority {
        body["priority"] = priority.into();
    }
    let route = client.give(Method::Patch, &place(args.id), &body)?;
    said(args.json, &route, "changed")
}

fn said(json: bool, route: &Value, what: &str) -> anyhow::Result<Exit> {
    let line = if json {
        format!("{route}\n")
    } else {
        let name = |end: &str| route.get(end).map(|end| escape(&text_at(end, "name")));
        let (from, to) = (name("from").unwrap_or_default(), name("to").unwrap_or_default());
        let (id, state) = (text_at(route, "id"), text_at(route, "state"));
        format!("Route {id} from {from} to {to} is {what}: {state}.\n")
    };
    output::all(line.as_bytes())?;
    Ok(Exit::Fine)
}

fn enable(args: &ManyArgs, enabled: bool) -> anyhow::Result<Exit> {
    each(args, |client, id| {
        let route = client.give(Method::Patch, &place(id), &json!({ "enabled": enabled }))?;
        Ok(format!("Route {id}: {}.\n", text_at(&route, "state")))
    })
}

fn each(
    args: &ManyArgs,
    act: impl Fn(&Client, u32) -> anyhow::Result<String>,
) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    for id in &args.ids {
        output::all(act(&client, *id)?.as_bytes())?;
    }
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_by_number_and_by_name() {
        for (text, low, high) in [
            ("36-59", 36, 59),
            ("C2-B3", 36, 59),
            ("C-1-G9", 0, 127),
            ("60", 60, 60),
            ("c4", 60, 60),
            ("f#3-bb3", 54, 58),
            ("0-C4", 0, 60),
        ] {
            assert_eq!(notes(text), Ok(Notes(low, high)), "{text}");
        }
        for text in
            ["", "-", "59-36", "128", "C10", "G#9", "X4", "C", "36-", "Cb-1", "1-2-3", "C##4"]
        {
            assert!(notes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn channels_are_read_as_lists_and_ranges() {
        assert_eq!(channels("1,3-5, 16"), Ok(Channels(vec![1, 3, 4, 5, 16])));
        for text in ["", "0", "17", "5-3", "1-", "a"] {
            assert!(channels(text).is_err(), "{text}");
        }
        assert_eq!(pair("1:74", 0..=119), Ok((1, 74)));
        assert!(pair("1:120", 0..=119).is_err() && pair("1", 0..=119).is_err());
    }

    #[test]
    fn a_filter_is_said_in_few_words() {
        let args = FilterArgs {
            without: Some(vec!["clock".to_owned(), "sysex".to_owned()]),
            notes: Some(Notes(36, 59)),
            transpose: Some(-12),
            to_channel: Some(10),
            map_controller: Some(vec![(1, 74)]),
            ..FilterArgs::default()
        };
        let words = "notes,pressure,controllers,programs,bends,system; notes 36-59; -12 semitones; \
                     to channel 10; controllers 1:74";
        assert_eq!(in_words(&args.json()), words);
        assert!(!FilterArgs::default().is_given() && args.is_given());
        assert_eq!(in_words(&FilterJson::default()), "");
    }

    #[test]
    fn routes_stand_in_a_table() {
        let route = json!({"id":3,"from":{"name":"Keys","identity":"x"},"to":{"name":"Synth @ pc","identity":"y"},
            "enabled":true,"priority":2,"filter":{"channels":[1]},"state":"active","messages":1234});
        let text = table(&[route], "pc");
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, " 3  Keys  Synth @ pc  active   1,234         2  channels 1");
        assert!(table(&[], "pc").contains("route add"));
    }
}
