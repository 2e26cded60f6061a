//! `midip2p clock`: whose time a node goes by, how sure it is, and how the last minutes went.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, NodeChoice};
use super::exit::Exit;
use super::inbox::{Inbox, Input};
use super::listing::text_at;
use super::output;
use super::text::{Paint, Table, duration_us, escape, minutes};

/// How often a watched clock is asked for.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// Heights of a bar.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Bars of a plot: with what stands beside them they fit 80 columns.
const PLOT: usize = 60;

/// Show whose time the nodes go by, and how sure this one is of it.
///
/// All nodes go by one clock: that of the node that leads. Nobody's system clock is set. Shown are the leader, how far this
/// node may be from it, how fast its own clock drifts, the last minutes as plots, and what it knows of the others.
///
/// `±` is the standard deviation, ways there and back being alike; `at most` is what the clock may be wrong by whatever the
/// ways: a network cannot tell a slow way there from a slow way back.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p clock\n  midip2p clock --watch\n  midip2p clock --json"
)]
pub(super) struct ClockArgs {
    #[command(flatten)]
    node: NodeChoice,
    /// As a JSON object, for scripts
    #[arg(long)]
    json: bool,
    /// Go on, and show it anew every second
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &ClockArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let shown = || -> anyhow::Result<String> {
        let clock = client.get("/clock")?;
        Ok(if args.json { format!("{clock}\n") } else { page(&clock) })
    };
    if !args.watch {
        return output::all(shown()?.as_bytes()).map(|_| Exit::Fine);
    }
    let mut inbox = Inbox::new()?;
    let clear = io::stdout().is_terminal() && !args.json;
    loop {
        let text = shown()?;
        let text = if clear { format!("{CLEAR}{text}") } else { text };
        if output::all(text.as_bytes())? == output::Open::No {
            return Ok(Exit::Fine);
        }
        io::stdout().flush()?;
        if let Some(Input::Signal) = inbox.next_within(WATCH_EVERY) {
            return Ok(Exit::Fine);
        }
    }
}

fn page(clock: &Value) -> String {
    let mut text = format!("{}\n\n{}", head(clock), facts(clock));
    let history = clock.get("history").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if history.len() > 1 {
        text.push('\n');
        text.push_str(&plot("drift", " ppm", history, "drift_ppm"));
        text.push_str(&plot("±", " µs", history, "deviation_us"));
        let ago = history.first().and_then(|h| h.get("ago_ms")).and_then(Value::as_u64);
        let ago = ago.map(|ms| minutes(ms / 1_000)).unwrap_or_default();
        text.push_str(&format!("{:>10}  {ago} ago to now\n", ""));
    }
    let peers = clock.get("peers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !peers.is_empty() {
        text.push('\n');
        text.push_str(&Paint::stdout().head(&table(peers).to_string()));
    }
    text
}

/// Who leads, in a sentence.
fn head(clock: &Value) -> String {
    let name = escape(&text_at(clock, "name"));
    let Some(leader) = clock.get("leader").filter(|leader| !leader.is_null()) else {
        return format!("{name} has met an older mesh, and does not know its time yet.");
    };
    let since = leader.get("since_ms").and_then(Value::as_u64).unwrap_or(0);
    let since = minutes(since / 1_000);
    let term = text_at(leader, "term");
    let is_this = leader.get("this").and_then(Value::as_bool) == Some(true);
    let alone = clock.get("peers").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let doubts = clock.get("doubts").and_then(Value::as_bool) == Some(true);
    let mut text = match (is_this, alone) {
        (true, true) => format!("{name} keeps a time of its own: it is linked with nobody."),
        (true, false) => format!("{name} leads the clock (term {term}, for {since})."),
        (false, _) => {
            let leader = escape(&text_at(leader, "name"));
            let way = match text_at(clock, "hops").as_str() {
                "1" => "a link".to_owned(),
                hops => format!("{hops} hops"),
            };
            format!("{leader} leads the clock (term {term}, for {since}); {name} is {way} away.")
        }
    };
    if doubts {
        text.push_str(" Its clock is wrong, by what this node sees.");
    }
    text
}

fn facts(clock: &Value) -> String {
    let number = |key: &str| clock.get(key).and_then(Value::as_f64);
    let locked = clock.get("locked").and_then(Value::as_bool) == Some(true);
    let span = |key: &str| number(key).map(duration_us).unwrap_or_default();
    let mut text = String::new();
    let mut line = |what: &str, value: String| text.push_str(&format!("{what:<10}  {value}\n"));
    match number("mesh_us") {
        Some(us) if locked => line("time", format!("{} s, locked", seconds(us))),
        _ => line("time", "not locked yet: nothing is played by it".to_owned()),
    }
    line("error", format!("± {}, at most {}", span("deviation_us"), span("bound_us")));
    if let Some(ppm) = number("drift_ppm") {
        let how = if ppm < 0.0 { "fast" } else { "slow" };
        line("drift", format!("this machine's clock is {:.3} ppm {how}", ppm.abs()));
    }
    text
}

fn seconds(us: f64) -> String {
    format!("{:.6}", us / 1e6)
}

/// A line of bars with the least and the greatest beside it; of many values the last.
fn plot(what: &str, unit: &str, history: &[Value], key: &str) -> String {
    let all: Vec<f64> = history.iter().filter_map(|h| h.get(key)?.as_f64()).collect();
    let all = &all[all.len().saturating_sub(2 * PLOT)..];
    // Two to a bar, when there are many: of both the greater.
    let each = all.len().div_ceil(PLOT).max(1);
    let bars: Vec<f64> =
        all.chunks(each).map(|some| some.iter().copied().fold(f64::MIN, f64::max)).collect();
    let least = bars.iter().copied().fold(f64::INFINITY, f64::min);
    let most = bars.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = (most - least).max(f64::MIN_POSITIVE);
    let line: String = bars.iter().map(|value| bar((value - least) / height)).collect();
    format!("{what:<10}  {line}  {} to {}{unit}\n", short(least), short(most))
}

/// A bar for 0 to 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 7
fn bar(part: f64) -> char {
    BARS.get((part * 7.0).round() as usize).copied().unwrap_or('█')
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn table(peers: &[Value]) -> Table {
    let headings = ["NAME", "OFFSET", "±", "AT MOST", "DRIFT", "CLOCK", "COMPARED EVERY"];
    let mut table = Table::new(&headings, &[1, 2, 3, 4, 6]);
    for peer in peers {
        let number = |key: &str| peer.get(key).and_then(Value::as_f64);
        let span = |key: &str| number(key).map(duration_us).unwrap_or_default();
        let is = |key: &str| peer.get(key).and_then(Value::as_bool);
        let state = match (is("same_timeline"), is("locked")) {
            (Some(true), Some(true)) => "locked",
            (Some(true), _) => "not locked yet",
            (Some(false), _) => "another mesh's",
            (None, _) => "says nothing of it",
        };
        table.row([
            text_at(peer, "name"),
            number("offset_us").map(|us| format!("{} s", seconds(us))).unwrap_or_default(),
            span("deviation_us"),
            span("bound_us"),
            number("drift_ppm").map(|ppm| format!("{ppm:+.3} ppm")).unwrap_or_default(),
            state.to_owned(),
            number("every_ms").map(|ms| duration_us(ms * 1_000.0)).unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clock() -> Value {
        json!({
            "name": "stage\x1b", "priority": 100, "mesh_us": 61_000_250.0, "locked": true, "doubts": false,
            "leader": {"name": "studio", "this": false, "term": 2, "since_ms": 65_000}, "hops": 1,
            "drift_ppm": -12.5, "deviation_us": 8.0, "bound_us": 1_200.0,
            "peers": [
                {"name": "studio", "offset_us": -1_500_000.0, "deviation_us": 8.0, "bound_us": 1_200.0,
                    "drift_ppm": 12.5, "locked": true, "same_timeline": true, "every_ms": 500.0},
                {"name": "old", "offset_us": null, "locked": null, "same_timeline": null, "every_ms": 1000.0},
            ],
            "history": [
                {"ago_ms": 4_000, "drift_ppm": -14.0, "deviation_us": 80.0},
                {"ago_ms": 2_000, "drift_ppm": -13.0, "deviation_us": 20.0},
                {"ago_ms": 0, "drift_ppm": -12.5, "deviation_us": 8.0},
            ],
        })
    }

    #[test]
    fn who_leads_and_how_sure_that_is_stand_on_one_page() {
        let text = page(&clock());
        for part in [
            "studio leads the clock (term 2, for 1:05); stage\\u{1b} is a link away.",
            "61.000250 s, locked",
            "± 8 µs, at most 1.20 ms",
            "12.500 ppm fast",
            "▁▆█  -14.00 to -12.50 ppm",
            "█▂▁  8.00 to 80.00 µs",
            "0:04 ago to now",
            "-1.500000 s",
            "says nothing of it",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn a_node_alone_or_unsure_says_so() {
        let mut clock = clock();
        clock["peers"] = json!([]);
        clock["leader"]["this"] = json!(true);
        assert!(page(&clock).starts_with("stage\\u{1b} keeps a time of its own"));
        clock["locked"] = json!(false);
        assert!(page(&clock).contains("not locked yet"));
        clock["leader"] = Value::Null;
        assert!(page(&clock).contains("has met an older mesh"));
        clock["doubts"] = json!(true);
        // Whatever is missing, there is a page.
        assert!(!page(&json!({})).is_empty());
    }
}
