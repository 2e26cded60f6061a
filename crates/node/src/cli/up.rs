//! `midip2p up`: runs a node until somebody stops it.

use std::io::{self, IsTerminal as _, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::FromArgMatches as _;
use clap::builder::BoolishValueParser;
use midip2p_midi::Ump;
use midip2p_midi::json::{self, Message};
use midip2p_proto::control::bus::{PortView, Reach};
use midip2p_proto::control::port::{BackendNo, Home, NameFilter};
use midip2p_proto::control::trust::TrustPolicy;
use midip2p_proto::time::Span;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::config::{self, Layers};
use super::exit::{Exit, bad_input};
use super::inbox::Signals;
use super::log;
use super::output;
use super::passphrase;
use super::playout::{self, Playout};
use super::text::{Paint, escape};
use crate::crypto::passphrase::Passphrase;
use crate::http::HTTP_PORT;
use crate::node::{Node, NodeInfo, StartError};
use crate::options::Options;
use crate::os::{descriptors, interfaces};
use crate::transport::lan::{TCP_PORT, UDP_PORT};

/// What the runtime's own threads get to end after the node did.
const LAST_THREADS: Duration = Duration::from_millis(500);

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Whom a node takes for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Trust {
    /// Whom somebody confirmed on both machines (`midip2p trust`), and nodes of the same user
    Paired,
    /// These, and whoever has the passphrase of the session (`--passphrase-file`): for bands and schools
    Session,
    /// Whoever comes, unasked: everybody on the network can play and listen
    Lan,
}

impl From<Trust> for TrustPolicy {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Paired => Self::Paired,
            Trust::Session => Self::Session,
            Trust::Lan => Self::Open,
        }
    }
}

/// Make this machine part of the studio: run a node until Ctrl-C.
///
/// Nodes on a network find each other. Every MIDI port of this machine appears on the others, and
/// theirs appear here, as "PORT @ NODE": connect them as if they were in this room.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  midip2p up
  midip2p up --name stage --peer 192.168.1.20        where multicast does not pass
  midip2p up --trust session --passphrase-file band  link with all that have the same
  midip2p up --no-export '*Through*' --import 'Keys*'
  midip2p up --panic-on '{\"type\":\"controlChange\",\"channel\":16,\"controller\":119,\"value\":127}'
  midip2p up --playout scheduled=12 --din 'MIDI 1'   constant latency; a port with a DIN cable
  midip2p up --app-port DAW                          a port for `midip2p send` and `monitor`

Patterns: * is any text, ? one character; case does not count.")]
pub(super) struct UpArgs {
    /// The node's name, as others see it [default: this machine's]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Where the node keeps its identity [default: a directory of yours that no other node uses]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Whether notes go by UDP and all else by TCP; off: everything goes by TCP, where no UDP passes. Notes
    /// are later then whenever TCP repeats what was lost
    #[arg(long, value_name = "on|off", default_value = "on", help_heading = "Network")]
    dual_transport: Switch,
    /// UDP port for notes; 0: a free one [default: 5004, or a free one if that is taken]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    port_udp: Option<u16>,
    /// TCP port for everything else; 0: a free one [default: 5005, or a free one if that is taken]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    port_tcp: Option<u16>,
    /// Port of the HTTP interface; 0: a free one [default: 8080, or a free one if that is taken]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    port_http: Option<u16>,
    /// Address of the HTTP interface. It takes only requests with the token that lies in the state directory,
    /// and browsers that came by a link; without --http-tls they are not encrypted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Network")]
    http_address: IpAddr,
    /// Speak HTTPS there, with http-cert.pem and http-key.pem of the state directory, which are made when
    /// there are none
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), help_heading = "Network")]
    http_tls: Option<bool>,
    /// Use only this network interface, by its name or its address
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    interface: Option<String>,
    /// Link with the node there, besides those that are found; repeatable
    #[arg(long, value_name = "HOST[:PORT]", value_parser = item, help_heading = "Network")]
    peer: Vec<String>,
    /// Milliseconds between two signs of life to a peer, 100 to 10000 [default: 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(100..=10_000), help_heading = "Network")]
    heartbeat: Option<u32>,
    /// So many missed, 2 to 20, and a peer counts as gone [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=20), help_heading = "Network")]
    heartbeats_missed: Option<u32>,
    /// How gladly this node leads the clock that all go by, 0 to 255: of those that are there the highest does
    /// [default: 100]
    #[arg(long, value_name = "NUMBER", help_heading = "Network")]
    clock_priority: Option<u8>,
    /// Neither announce this node nor look for others
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), help_heading = "Network")]
    no_discovery: Option<bool>,

    /// Whom to link with
    #[arg(long, value_name = "POLICY", default_value = "paired", help_heading = "Trust")]
    trust: Trust,
    /// For --trust session: a file whose first line is the passphrase, 12 characters or more, the same on all
    /// machines of the session; capital letters count, how much space there is does not. The variable
    /// MIDIP2P_PASSPHRASE can hold it instead
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    passphrase_file: Option<PathBuf>,
    /// The key by which nodes of one user know each other, 64 hex digits; copy it to another machine of yours,
    /// and your nodes there need not be confirmed [default: one that is yours on this machine]
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    user_key: Option<PathBuf>,

    /// Open a port of this name for programs; repeatable
    #[arg(long, value_name = "NAME", value_parser = name, help_heading = "MIDI ports")]
    app_port: Vec<String>,
    /// Show others only those ports of this machine whose names match; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = item, help_heading = "MIDI ports")]
    export: Vec<String>,
    /// Hide matching ports of this machine from others; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = item, help_heading = "MIDI ports")]
    no_export: Vec<String>,
    /// Show here only those ports of others whose names match; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = item, help_heading = "MIDI ports")]
    import: Vec<String>,
    /// Hide matching ports of others here; repeatable
    #[arg(long, value_name = "PATTERN", value_parser = item, help_heading = "MIDI ports")]
    no_import: Vec<String>,
    /// Show here at most so many ports of others
    #[arg(long, value_name = "NUMBER", help_heading = "MIDI ports")]
    mirrors: Option<usize>,
    /// Leave the ALSA sequencer alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), help_heading = "MIDI ports")]
    no_alsa: Option<bool>,
    /// Leave JACK alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), help_heading = "MIDI ports")]
    no_jack: Option<bool>,

    /// When a port plays what comes: immediate; scheduled, a constant time after it was played, so that
    /// the network's jitter is not heard (with the latency that the network needs, or MS, 0.5 to 500);
    /// PORT=MODE for one port; repeatable [default: immediate]
    #[arg(long, value_name = "[PORT=]immediate|scheduled[=MS]", value_parser = playout::parse, help_heading = "Playing")]
    playout: Vec<Playout>,
    /// This port has a DIN cable: write no faster than 31,250 baud, so that notes and clocks do not wait
    /// behind a SysEx that has not begun; repeatable
    #[arg(long, value_name = "PORT", value_parser = item, help_heading = "Playing")]
    din: Vec<String>,

    /// When this message comes from a port of this machine, silence everything, everywhere
    #[arg(long, value_name = "JSONMIDI", value_parser = panic_message, help_heading = "Safety")]
    panic_on: Option<Ump>,
    /// Let others send system resets (FF) to the ports of this machine
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), help_heading = "Safety")]
    allow_reset: Option<bool>,

    /// Read the options from this file [default: midip2p/config.toml in $XDG_CONFIG_HOME or ~/.config, if it is
    /// there]. Flags stand above variables (--port-udp: MIDIP2P_PORT_UDP), these above the file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "no_config",
        help_heading = "Config and log"
    )]
    config: Option<PathBuf>,
    /// Read no file
    #[arg(long, help_heading = "Config and log")]
    no_config: bool,
    /// What the log says: error, warn, info, debug, trace, or a filter as midip2p=debug,mdns_sd=off. Where
    /// nothing says it, the variable RUST_LOG does [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = log::parse, help_heading = "Config and log")]
    log: Option<log::Wanted>,
    /// How the log is written: for people, or a line of JSON for each entry
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Config and log")]
    log_format: log::Format,
    /// As --log debug
    #[arg(short, long, help_heading = "Config and log")]
    verbose: bool,
    /// When ready, one line of JSON with name, id and ports on standard output; the log goes to
    /// standard error
    #[arg(long)]
    pub(super) json: bool,
    /// Stop when standard input ends: a child that outlives nobody.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl UpArgs {
    fn passphrase(&self) -> anyhow::Result<Option<Passphrase>> {
        passphrase::of_session(
            self.trust == Trust::Session,
            self.passphrase_file.as_deref(),
            std::env::var_os(passphrase::VARIABLE),
        )
    }

    fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            name: self.name.clone(),
            state: self.state.clone(),
            dual_transport: self.dual_transport == Switch::On,
            udp: self.port_udp,
            tcp: self.port_tcp,
            http: self.port_http,
            http_address: self.http_address,
            http_tls: self.http_tls.unwrap_or_default(),
            interface: self.interface.clone(),
            peers: self.peer.clone(),
            app_ports: self.app_port.clone(),
            export: NameFilter { allow: self.export.clone(), deny: self.no_export.clone() },
            import: NameFilter { allow: self.import.clone(), deny: self.no_import.clone() },
            mirrors: self.mirrors.unwrap_or(defaults.mirrors),
            heartbeat: self.heartbeat.map_or(defaults.heartbeat, |ms| Span::from_ms(ms.into())),
            heartbeats_missed: self.heartbeats_missed.unwrap_or(defaults.heartbeats_missed),
            clock_priority: self.clock_priority.unwrap_or(defaults.clock_priority),
            discovery: !self.no_discovery.unwrap_or_default(),
            listed: true,
            trust: self.trust.into(),
            passphrase: None,
            user_key: self.user_key.clone(),
            alsa: !self.no_alsa.unwrap_or_default(),
            jack: !self.no_jack.unwrap_or_default(),
            panic_on: self.panic_on,
            accept_reset: self.allow_reset.unwrap_or_default(),
            playout: playout::rules(&self.playout, &self.din),
        }
    }
}

impl UpArgs {
    /// What no option can tell by itself: the passphrase of the session, if the node is to be in one.
    ///
    /// # Errors
    /// When two options contradict each other, or what one names is not there.
    pub(super) fn fit_together(&self, layers: &Layers) -> anyhow::Result<Option<Passphrase>> {
        if self.verbose && layers.is_flag("log") {
            return Err(bad_input("--verbose is --log debug: say one of the two"));
        }
        if let Some(name) = &self.interface {
            interfaces::addresses_of(name).map_err(bad_input)?;
        }
        self.passphrase()
    }
}

pub(super) fn run() -> anyhow::Result<Exit> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let environment = config::environment();
    let layers = Layers::of(&arguments, &["up"], &environment)?;
    let args = UpArgs::from_arg_matches(&layers.matches)?;
    log::to_stderr(args.log.as_ref(), args.verbose, args.log_format);
    for strange in config::strange_variables(&environment) {
        tracing::warn!("{strange}");
    }
    if let Some(file) = layers.file() {
        tracing::info!("{} holds, where no flag or variable says otherwise", file.display());
    }
    let passphrase = args.fit_together(&layers)?;
    descriptors::allow_all();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = Signals::register(&runtime)?;
    let options = Options { passphrase, ..args.options() };
    let done = runtime.block_on(live(&args, options, signals));
    runtime.shutdown_timeout(LAST_THREADS);
    log::finish();
    done
}

/// An interface that is not there is a slip of whoever typed it; the rest is the machine's matter.
fn start_error(error: StartError) -> anyhow::Error {
    match error {
        StartError::Interface(why) => bad_input(why),
        error => error.into(),
    }
}

async fn live(args: &UpArgs, options: Options, mut signals: Signals) -> anyhow::Result<Exit> {
    let stdin = args.until_stdin_closes.then(stdin_end).transpose()?;
    let node = tokio::select! {
        node = Node::start(options) => node.map_err(start_error)?,
        _ = signals.next() => return Ok(Exit::Fine),
    };
    let said = if args.json { format!("{}\n", ready_line(&node)) } else { welcome(&node, args) };
    output::all(said.as_bytes())?;
    tokio::select! {
        _ = signals.next() => {}
        () = ended(stdin) => {}
        () = node.ended() => return Ok(Exit::Failed),
    }
    tokio::select! {
        () = node.stop() => Ok(Exit::Fine),
        // Somebody is in a hurry: what sounds ends when the peers notice the silence.
        number = signals.next() => process::exit(128 + i32::from(number)),
    }
}

async fn ended(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(end) => {
            let _ = end.await;
        }
        None => std::future::pending().await,
    }
}

/// Resolves when standard input is at its end.
fn stdin_end() -> io::Result<oneshot::Receiver<()>> {
    let (sender, end) = oneshot::channel();
    thread::Builder::new().name("midip2p-stdin".to_owned()).spawn(move || {
        let mut buffer = [0; 256];
        while matches!(io::stdin().read(&mut buffer), Ok(1..)) {}
        let _ = sender.send(());
    })?;
    Ok(end)
}

/// A name that can be shown.
fn name(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a name has at least one letter and no control characters");
    }
    Ok(text.to_owned())
}

/// An item of a list.
fn item(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("an item of a list is not empty: write a text, or leave the item out");
    }
    Ok(text.to_owned())
}

/// The message that stands for the panic button.
fn panic_message(text: &str) -> anyhow::Result<Ump> {
    let mut scratch = vec![0; text.len()];
    match json::decode(text.as_bytes(), &mut scratch).context("not a message of JSONMIDI")?.message
    {
        Message::Ump(message) => Ok(message),
        Message::Sysex { .. } | Message::Bytes { .. } => {
            anyhow::bail!("a SysEx cannot be the panic button; choose a controller or a note")
        }
    }
}

/// The line that says to scripts that the node is ready.
fn ready_line(node: &Node) -> Value {
    let info = node.info();
    let backends: Vec<Value> = info
        .backends
        .iter()
        .map(|b| json!({ "kind": b.kind, "available": b.available, "reason": b.reason }))
        .collect();
    let ports: Vec<Value> = node
        .view()
        .ports
        .iter()
        .filter_map(|port| {
            let kind = local_kind(port, info)?;
            Some(json!({ "name": port.name, "direction": port.direction.as_str(), "kind": kind }))
        })
        .collect();
    json!({
        "event": "ready",
        "id": info.id.to_string(),
        "name": info.name,
        "udp": info.udp_port,
        "tcp": info.tcp_port,
        "http": info.http.to_string(),
        "http_tls": info.http_tls,
        "socket": info.socket.as_deref().map(Path::to_string_lossy),
        "state": info.state.to_string_lossy(),
        "ports": { "udp": info.udp_port, "tcp": info.tcp_port, "http": info.http.port() },
        "pid": process::id(),
        "realtime": info.realtime,
        "memory_locked": info.memory_locked,
        "midi": ports,
        "backends": backends,
    })
}

/// Where a port of this node lives; `None` for those of others.
fn local_kind(port: &PortView, info: &NodeInfo) -> Option<&'static str> {
    match port.reach {
        Reach::Local(Home::App) => Some("app"),
        Reach::Local(Home::Backend(BackendNo(number))) => {
            let mut there = info.backends.iter().filter(|b| b.available);
            Some(there.nth(usize::from(number)).map_or("midi", |b| b.kind))
        }
        Reach::Remote { .. } => None,
    }
}

/// What people read when the node is ready.
fn welcome(node: &Node, args: &UpArgs) -> String {
    let info = node.info();
    let paint = Paint::stdout();
    let name = paint.paint(1, &escape(&info.name));
    let mut lines = vec![
        format!("{name} is up (id {}).", info.id.short()),
        match info.udp_port {
            0 => format!("  network   TCP {}, no UDP", info.tcp_port),
            udp => format!("  network   UDP {udp}, TCP {}", info.tcp_port),
        },
    ];
    lines.extend(browser_line(node));
    for backend in &info.backends {
        let state = if backend.available {
            let ports = node
                .view()
                .ports
                .iter()
                .filter(|p| local_kind(p, info) == Some(backend.kind))
                .count();
            format!("{ports} MIDI ports")
        } else {
            format!("not there: {}", escape(&backend.reason))
        };
        lines.push(format!("  {:<8}  {state}", backend.kind));
    }
    for name in &args.app_port {
        lines.push(format!("  app port  {name}"));
    }
    lines.extend(replaced(info, args));
    if !info.realtime {
        lines.push(
            "No real-time priority: under load notes may come late. \"@audio - rtprio 95\" and \
             \"@audio - memlock unlimited\" in /etc/security/limits.conf grant it to the group audio."
                .to_owned(),
        );
    }
    if info.realtime && !info.memory_locked {
        // Without either, the line above says what there is to say.
        lines.push(
            "Memory is not locked: what was swapped out comes back late. \"@audio - memlock unlimited\" \
             in /etc/security/limits.conf lets it be."
                .to_owned(),
        );
    }
    if args.no_discovery == Some(true) && args.peer.is_empty() {
        lines.push(
            "It neither looks for other nodes nor is found; others may name it as --peer."
                .to_owned(),
        );
    }
    lines.extend(who_is_let_in(args.trust).map(str::to_owned));
    if io::stdin().is_terminal() {
        lines.push(
            "Ctrl-C ends it. In another terminal: midip2p ports, peers, trust, monitor.".to_owned(),
        );
    }
    lines.join("\n") + "\n"
}

/// What to open in a browser. A link lets in whoever has it, so it is not for a log.
fn browser_line(node: &Node) -> Option<String> {
    if !io::stdout().is_terminal() {
        let scheme = if node.info().http_tls { "https" } else { "http" };
        return Some(format!("  browser   {scheme}://{}, by `midip2p browser`", node.info().http));
    }
    let link = node.invite_browser().into_iter().next()?;
    let more = "(once, within ten minutes; another: midip2p browser)";
    Some(format!("  browser   {link}\n            {more}"))
}

/// Whom a node lets in unasked, where that is more than people expect.
const fn who_is_let_in(trust: Trust) -> Option<&'static str> {
    match trust {
        Trust::Paired => None,
        Trust::Session => {
            Some("Nodes with the same passphrase are let in unasked; others once you confirm them.")
        }
        Trust::Lan => Some(
            "Every midip2p node on this network is let in unasked; without --trust lan only whom \
             you confirm.",
        ),
    }
}

/// Default ports that were taken.
fn replaced(info: &NodeInfo, args: &UpArgs) -> Vec<String> {
    [
        ("UDP", args.port_udp, UDP_PORT, info.udp_port),
        ("TCP", args.port_tcp, TCP_PORT, info.tcp_port),
        ("HTTP", args.port_http, HTTP_PORT, info.http.port()),
    ]
    .into_iter()
    .filter(|(_, asked, usual, is)| asked.is_none() && usual != is)
    .map(|(what, _, usual, is)| {
        format!("{what} port {usual} is taken on this machine; {is} serves.")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use midip2p_proto::bridge::PlayoutMode;

    use super::super::{Cli, Verb};
    use super::*;

    fn parse(arguments: &[&str]) -> Result<UpArgs, String> {
        let all = ["midip2p", "up"].iter().chain(arguments);
        match Cli::try_parse_from(all) {
            Ok(Cli { verb: Verb::Up(args) }) => Ok(*args),
            Ok(_) => panic!("another verb"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn without_options_a_node_is_the_default_one() {
        let options = parse(&[]).unwrap().options();
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn every_option_reaches_the_node() {
        let args = parse(&[
            "--name",
            "stage",
            "--state",
            "/s",
            "--port-udp",
            "1",
            "--port-tcp",
            "2",
            "--port-http",
            "0",
            "--http-address",
            "::1",
            "--http-tls",
            "--interface",
            "eth0",
            "--peer",
            "a",
            "--peer",
            "b:7",
            "--app-port",
            "DAW",
            "--export",
            "K*",
            "--no-export",
            "*T*",
            "--import",
            "I",
            "--no-import",
            "J",
            "--mirrors",
            "3",
            "--heartbeat",
            "200",
            "--heartbeats-missed",
            "5",
            "--clock-priority",
            "7",
            "--no-discovery",
            "--trust",
            "lan",
            "--user-key",
            "/k",
            "--no-alsa",
            "--no-jack",
            "--allow-reset",
            "--playout",
            "scheduled",
            "--playout",
            "Synth=scheduled=12",
            "--din",
            "Old",
            "--panic-on",
            r#"{"type":"noteOn","channel":1,"note":0,"velocity":1}"#,
        ]);
        let options = args.unwrap().options();
        let strings = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        assert_eq!((options.name.as_deref(), options.state), (Some("stage"), Some("/s".into())));
        assert_eq!((options.udp, options.tcp, options.http), (Some(1), Some(2), Some(0)));
        assert_eq!(options.http_address, "::1".parse::<IpAddr>().unwrap());
        assert!(options.http_tls);
        assert_eq!(options.interface.as_deref(), Some("eth0"));
        assert_eq!((options.peers, options.app_ports), (strings(&["a", "b:7"]), strings(&["DAW"])));
        assert_eq!(
            (options.export.allow, options.export.deny),
            (strings(&["K*"]), strings(&["*T*"]))
        );
        assert_eq!((options.import.allow, options.import.deny), (strings(&["I"]), strings(&["J"])));
        assert_eq!(options.mirrors, 3);
        assert_eq!((options.heartbeat, options.heartbeats_missed), (Span::from_ms(200), 5));
        assert_eq!(options.clock_priority, 7);
        assert_eq!((options.discovery, options.alsa, options.jack), (false, false, false));
        assert_eq!((options.trust, options.user_key), (TrustPolicy::Open, Some("/k".into())));
        assert!(options.accept_reset);
        let fixed = PlayoutMode::Fixed(Span::from_ms(12));
        assert_eq!(options.playout.mode, PlayoutMode::Adaptive);
        assert_eq!(options.playout.ports, [("Synth".to_owned(), fixed)]);
        assert_eq!(options.playout.din, strings(&["Old"]));
        assert_eq!(options.panic_on, Some(Ump::midi1(0, 0x90, 0, 1)));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (arguments, want) in [
            (["--app-port", " "], "at least one letter"),
            (["--heartbeat", "99"], "100..=10000"),
            (["--heartbeats-missed", "21"], "2..=20"),
            (["--clock-priority", "256"], "0..=255"),
            (["--log", "midip2p=loud"], "midip2p=loud"),
            (["--panic-on", "{\"type\":\"noteOn\"}"], "JSONMIDI"),
            (["--panic-on", "{\"type\":\"sysex\",\"data\":\"00\"}"], "controller"),
            (["--port-udp", "70000"], "70000"),
            (["--http-address", "here"], "here"),
            (["--playout", "soon"], "a mode is immediate"),
            (["--playout", "Synth=scheduled=0"], "0.5 to 500"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
