//! `midip2p ping`: how far away another node is, and how steady the way.
//!
//! The running node makes the probes, on its link with the peer and by the path that notes take: what
//! is measured is what music gets. Each probe is one request to the node, on a thread of its own, so
//! that one without an answer holds up none of those after it.

mod tally;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::SyncSender;
use std::thread;

use anyhow::{Context as _, anyhow};
use midip2p_proto::time::{LocalTime, Span};
use serde_json::{Value, json};

use self::tally::{Answer, Tally};
use super::client::{self, Client, NodeChoice};
use super::exit::{Exit, bad_input};
use super::inbox::{Inbox, Input};
use super::output::{self, Open};
use super::socket::encode;
use super::text::{duration_us, escape};
use crate::os::clock;

/// What the node answers: it had an answer, it knows no such peer, none came in time.
const ANSWERED: u16 = 200;
const NO_SUCH_PEER: u16 = 404;
const NO_ANSWER: u16 = 504;

/// Clears a terminal from the cursor on.
const CLEAR_BELOW: &str = "\x1b[J";

/// Measure how far away another node is.
///
/// Round trip, jitter, what is lost on each way, and each way's share as far as the clocks of both
/// machines can be compared. The probes travel as notes do, between the running nodes. Exit codes are
/// those of ping(1): 0 when there was an answer, 1 when there was none, 2 for wrong usage or an unknown
/// peer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p ping studio-mac
  midip2p ping studio-mac -c 100 -i 0.02      a hundred probes in two seconds
  midip2p ping studio-mac --json | jq .rtt_us")]
pub(super) struct PingArgs {
    /// The other node: its name, the beginning of its id, or its address. `midip2p peers` lists them
    #[arg(value_name = "PEER")]
    peer: String,
    /// End after so many probes [default: until Ctrl-C]
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds from one probe to the next, 0.01 to 3600
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds::<10, 3_600_000>)]
    interval: Span,
    /// Seconds to wait for an answer, 0.01 to 4
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "1", value_parser = seconds::<10, 4_000>)]
    timeout: Span,
    #[command(flatten)]
    node: NodeChoice,
    /// One JSON object for each probe, and one in the end
    #[arg(long)]
    json: bool,
}

/// Reads a number of seconds within limits given in milliseconds.
fn seconds<const LEAST_MS: i64, const MOST_MS: i64>(text: &str) -> Result<Span, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    let (least, most) = (LEAST_MS as f64 / 1e3, MOST_MS as f64 / 1e3);
    if !(least..=most).contains(&seconds) {
        return Err(format!("{least} to {most} s are possible"));
    }
    #[allow(clippy::cast_possible_truncation)] // within the limits
    Ok(Span::from_us((seconds * 1e6) as i64))
}

pub(super) fn run(args: &PingArgs) -> anyhow::Result<Exit> {
    let client = Client::find(&args.node)?;
    let mut inbox = Inbox::new()?;
    let screen = Screen::new(args);
    let mut run = Run { args, tally: Tally::new()?, peer: escape(&args.peer), screen };
    let open = run.probe(&client, &mut inbox)?;
    if open == Open::Yes {
        let last = if args.json {
            format!("{}\n", run.tally.json(&run.peer))
        } else {
            run.screen.last(&run.tally, &run.peer)
        };
        output::all(last.as_bytes())?;
    }
    Ok(if run.tally.answered() > 0 { Exit::Fine } else { Exit::Failed })
}

struct Run<'a> {
    args: &'a PingArgs,
    tally: Tally,
    /// As the node calls it, once it was heard.
    peer: String,
    screen: Screen,
}

impl Run<'_> {
    /// Probes until there were enough, a signal came, or nobody reads any more.
    fn probe(&mut self, client: &Client, inbox: &mut Inbox) -> anyhow::Result<Open> {
        let (mut next, mut waiting) = (clock::now(), 0_u64);
        loop {
            let more = self.args.count.is_none_or(|count| self.tally.sent < count);
            if !more && waiting == 0 {
                return Ok(Open::Yes);
            }
            let now = clock::now();
            if more && now >= next {
                self.tally.sent += 1;
                waiting += 1;
                ask(client, self.args, self.tally.sent, inbox.sender())?;
                // A machine that slept does not make up for what it missed.
                next = (next + self.args.interval).max(now);
            }
            let until = if more { next } else { LocalTime::MAX };
            let open = match inbox.next_until(until) {
                Some(Input::Text(sequence, said)) => {
                    waiting -= 1;
                    self.take(sequence as u64, &serde_json::from_str(&said)?)?
                }
                Some(Input::Closed(_, why)) => return Err(anyhow!(why)),
                Some(Input::Signal) => {
                    // What is under way is neither answered nor lost.
                    self.tally.sent -= waiting;
                    return Ok(Open::Yes);
                }
                Some(Input::Stdin(_) | Input::Child(..)) | None => Open::Yes,
            };
            if open == Open::No {
                return Ok(Open::No);
            }
        }
    }

    /// What the node said to one probe.
    fn take(&mut self, sequence: u64, said: &Value) -> anyhow::Result<Open> {
        let status = said.get("status").and_then(Value::as_u64).unwrap_or(0);
        let said = said.get("said").unwrap_or(&Value::Null);
        let why = || client::why(said);
        let answer = match u16::try_from(status).unwrap_or(0) {
            ANSWERED => {
                let answer = Answer::of(said).context("the node's answer is not one")?;
                if let Some(name) = said.get("peer").and_then(Value::as_str) {
                    self.peer = escape(name);
                }
                self.tally.take(sequence, &answer);
                Ok(answer)
            }
            NO_SUCH_PEER if self.tally.answered() == 0 => return Err(bad_input(why())),
            // Before it was ever heard, whatever is wrong is said at once.
            status if status != NO_ANSWER && self.tally.answered() == 0 => {
                return Err(anyhow!(why()));
            }
            _ => {
                self.tally.lost.insert(sequence);
                Err(why())
            }
        };
        let text = if self.args.json {
            line_json(sequence, &answer, said)
        } else {
            self.screen.show(sequence, &answer, &self.tally, &self.peer)
        };
        output::all(text.as_bytes())
    }
}

/// One probe: what the node says to it comes into the inbox.
fn ask(
    client: &Client,
    args: &PingArgs,
    sequence: u64,
    inbox: SyncSender<Input>,
) -> anyhow::Result<()> {
    let within_ms = args.timeout.as_us() / 1_000;
    let path = format!("/network/ping/{}?within_ms={within_ms}", encode(&args.peer));
    let (client, number) = (client.clone(), usize::try_from(sequence)?);
    thread::Builder::new().name("midip2p-probe".to_owned()).spawn(move || {
        let input = match client.ask(&path) {
            Ok((status, said)) => {
                Input::Text(number, json!({ "status": status, "said": said }).to_string())
            }
            Err(error) => Input::Closed(number, error.to_string()),
        };
        // The command may have ended meanwhile.
        let _ = inbox.send(input);
    })?;
    Ok(())
}

fn line_json(sequence: u64, answer: &Result<Answer, String>, said: &Value) -> String {
    let mut line = json!({ "event": "answer", "seq": sequence });
    match (answer, line.as_object_mut(), said.as_object()) {
        (Ok(_), Some(line), Some(said)) => line.extend(said.clone()),
        _ => line = json!({ "event": "lost", "seq": sequence, "why": answer.as_ref().err() }),
    }
    format!("{line}\n")
}

/// What people see: on a terminal bars that grow, otherwise a line for each probe.
struct Screen {
    live: bool,
    /// Lines that are drawn anew.
    drawn: usize,
}

impl Screen {
    fn new(args: &PingArgs) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { live: io::stdout().is_terminal() && !args.json && !dumb, drawn: 0 }
    }

    fn show(
        &mut self,
        sequence: u64,
        answer: &Result<Answer, String>,
        tally: &Tally,
        peer: &str,
    ) -> String {
        if self.live {
            return self.draw(tally, peer);
        }
        match answer {
            Ok(Answer { rtt_us, ways_us, path, .. }) => {
                let ways = ways_us.map_or_else(String::new, |(out, back)| {
                    format!("  there {}  back {}", duration_us(out), duration_us(back))
                });
                format!("{peer}: seq {sequence}  rtt {}{ways}  {path}\n", duration_us(*rtt_us))
            }
            Err(why) => format!("{peer}: seq {sequence}  {why}\n"),
        }
    }

    fn draw(&mut self, tally: &Tally, peer: &str) -> String {
        let back = if self.drawn > 0 { format!("\x1b[{}F", self.drawn) } else { String::new() };
        let mut lines = vec![format!("{peer}, round trips; Ctrl-C ends")];
        lines.extend(tally.bars());
        lines.extend(tally.summary().lines().map(str::to_owned));
        self.drawn = lines.len();
        format!("{back}{CLEAR_BELOW}{}\n", lines.join("\n"))
    }

    /// The last words.
    fn last(&mut self, tally: &Tally, peer: &str) -> String {
        if self.live { self.draw(tally, peer) } else { format!("\n{peer}: {}", tally.summary()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_limits_and_fractions() {
        assert_eq!(seconds::<10, 4_000>("0.02"), Ok(Span::from_ms(20)));
        assert_eq!(seconds::<10, 4_000>("4"), Ok(Span::from_s(4)));
        for wrong in ["0", "0.009", "4.1", "-1", "nan", "inf", "x", ""] {
            assert!(seconds::<10, 4_000>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_terminal_is_drawn_over_and_a_pipe_gets_lines() {
        let said = json!({ "rtt_us": 412.0, "out_us": 200.0, "back_us": 212.0, "path": "udp",
            "number": 1, "heard": 1 });
        let answer = Answer::of(&said).unwrap();
        let mut tally = Tally::new().unwrap();
        tally.sent = 1;
        tally.take(1, &answer);
        let mut pipe = Screen { live: false, drawn: 0 };
        let line = pipe.show(1, &Ok(answer.clone()), &tally, "stage");
        assert_eq!(line, "stage: seq 1  rtt 412 µs  there 200 µs  back 212 µs  udp\n");
        let mut terminal = Screen { live: true, drawn: 0 };
        let first = terminal.show(1, &Ok(answer.clone()), &tally, "stage");
        assert!(!first.contains("F\x1b[J") && first.contains("200 µs ┤█"), "{first:?}");
        let lines = first.lines().count();
        let second = terminal.show(2, &Ok(answer.clone()), &tally, "stage");
        assert!(second.starts_with(&format!("\x1b[{lines}F\x1b[J")), "{second:?}");
        let json: Value = serde_json::from_str(&line_json(1, &Ok(answer), &said)).unwrap();
        assert_eq!((&json["event"], &json["rtt_us"]), (&json!("answer"), &json!(412.0)));
    }
}
