//! netlab: N network namespaces joined by one user-space Ethernet switch that
//! delays, drops, duplicates, reorders, rate-limits and cuts, per directed pair.
//! Everything random is seeded. Needs root, /dev/net/tun and iproute2; no netem.
//! See README.md for the commands.

mod frame;
mod impair;
mod requests;
mod switch;
mod sys;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, exit};
use std::time::{Duration, Instant};

pub const MAX_NODES: usize = 26;

fn die(msg: impl std::fmt::Display) -> ! {
    eprintln!("netlab: {msg}");
    exit(2)
}

/// Several labs can run side by side: NETLAB_NAME=name (default "lab").
fn lab() -> String {
    let name = std::env::var("NETLAB_NAME").unwrap_or_else(|_| "lab".into());
    if name.is_empty() || name.len() > 8 || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        die("NETLAB_NAME must be 1 to 8 letters or digits");
    }
    name
}
fn dir() -> String {
    format!("/run/netlab/{}", lab())
}
fn netns(node: &str) -> String {
    format!("nl-{}-{}", lab(), node)
}

fn ip(args: &str) {
    let st = Command::new("ip").args(args.split_whitespace()).status();
    if !st.map(|s| s.success()).unwrap_or(false) {
        die(format!("`ip {args}` failed"));
    }
}
fn ip_quiet(args: &str) {
    let _ = Command::new("ip")
        .args(args.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Sends one request line to the switch and returns its answer.
fn ask(req: &str) -> Result<String, String> {
    let path = format!("{}/ctl", dir());
    let mut s = UnixStream::connect(&path).map_err(|e| format!("no switch at {path}: {e}"))?;
    writeln!(s, "{req}").map_err(|e| e.to_string())?;
    let mut out = String::new();
    for line in BufReader::new(s).lines() {
        out.push_str(&line.map_err(|e| e.to_string())?);
        out.push('\n');
    }
    match out.strip_prefix("error: ") {
        Some(e) => Err(e.trim().into()),
        None => Ok(out),
    }
}
fn ask_print(req: &str) {
    match ask(req) {
        Ok(s) => print!("{s}"),
        Err(e) => die(e),
    }
}

pub fn node_name(i: usize) -> String {
    ((b'a' + i as u8) as char).to_string()
}

fn up(args: &[String]) {
    let n: usize = args.first().and_then(|s| s.parse().ok()).unwrap_or(2);
    if !(2..=MAX_NODES).contains(&n) {
        die("up N: N is 2 to 26");
    }
    let d = dir();
    if std::path::Path::new(&d).exists() {
        die(format!("lab {} is already up ({d}); run `netlab down` first", lab()));
    }
    std::fs::create_dir_all(&d).unwrap_or_else(|e| die(e));
    for i in 0..n {
        ip(&format!("netns add {}", netns(&node_name(i))));
    }
    let pid = start_switch(&d, n, args.iter().any(|a| a == "--rt"));
    for i in 0..n {
        join(i, n);
    }
    println!(
        "lab {}: {n} nodes, {} .. {}; 10.77.0.1 .. 10.77.0.{n}, fd77::1 .. fd77::{n:x}; switch pid {}",
        lab(),
        netns("a"),
        netns(&node_name(n - 1)),
        pid
    );
}

/// Starts the switch as a process that outlives this one; it opens the TAPs in our own namespace.
fn start_switch(dir: &str, n: usize, rt: bool) -> u32 {
    let log = std::fs::File::create(format!("{dir}/log")).unwrap_or_else(|e| die(e));
    let mut command = Command::new(std::env::current_exe().unwrap_or_else(|e| die(e)));
    command.args(["switch", &n.to_string()]).args(rt.then_some("--rt"));
    let errors = log.try_clone().unwrap_or_else(|e| die(e));
    // A process group of its own, so that Ctrl-C in the terminal does not reach it.
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    #[allow(clippy::zombie_processes)] // it outlives this command on purpose
    let child = command.spawn().unwrap_or_else(|e| die(e));
    std::fs::write(format!("{dir}/pid"), child.id().to_string()).unwrap_or_else(|e| die(e));
    let began = Instant::now();
    while ask("ping").is_err() {
        if began.elapsed() > Duration::from_secs(5) {
            die(format!("the switch did not start: see {dir}/log"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.id()
}

/// Moves a node's TAP into its namespace and gives it addresses and neighbours.
fn join(i: usize, n: usize) {
    let (ns, tap) = (netns(&node_name(i)), switch::tap_name(&lab(), i));
    ip(&format!("link set {tap} netns {ns}"));
    ip(&format!("-n {ns} link set lo up"));
    ip(&format!("-n {ns} link set {tap} name eth0 address {}", mac(i)));
    ip(&format!("-n {ns} link set eth0 up txqueuelen 10000"));
    ip(&format!("-n {ns} addr add 10.77.0.{}/24 brd + dev eth0", i + 1));
    ip(&format!("-n {ns} addr add fd77::{:x}/64 dev eth0 nodad", i + 1));
    // Multicast goes out without a gateway.
    ip(&format!("-n {ns} route add default dev eth0"));
    // Permanent neighbours: an impaired link never loses an ARP or ND exchange, so a seed gives the
    // same result whatever the caches hold.
    for j in (0..n).filter(|j| *j != i) {
        for address in [format!("10.77.0.{}", j + 1), format!("fd77::{:x}", j + 1)] {
            let to = mac(j);
            ip(&format!("-n {ns} neigh add {address} lladdr {to} dev eth0 nud permanent"));
        }
    }
}

fn mac(i: usize) -> String {
    format!("02:77:00:00:00:{:02x}", i + 1)
}

fn down() {
    let d = dir();
    let _ = ask("stop");
    end_switch(&d);
    for i in 0..MAX_NODES {
        let ns = netns(&node_name(i));
        if std::path::Path::new(&format!("/run/netns/{ns}")).exists() {
            ip_quiet(&format!("netns del {ns}"));
        }
    }
    let _ = std::fs::remove_dir_all(&d);
}

/// Waits until the switch is gone; one that does not go is killed. The pid file may be stale, so what
/// runs under that number is looked at first.
fn end_switch(dir: &str) {
    let pid = std::fs::read_to_string(format!("{dir}/pid")).unwrap_or_default();
    let runs = || {
        let command = std::fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
        command.windows(7).any(|w| w == b"\0switch")
    };
    let began = Instant::now();
    while runs() {
        if began.elapsed() > Duration::from_secs(2) {
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command inside a node, replacing this process.
fn exec(args: &[String]) -> ! {
    let node = args.first().unwrap_or_else(|| die("exec NODE [--mono-offset SECONDS] -- CMD"));
    let sep = args.iter().position(|a| a == "--").unwrap_or_else(|| die("exec NODE -- CMD"));
    let mut argv: Vec<String> =
        ["ip", "netns", "exec", &netns(node)].iter().map(|s| s.to_string()).collect();
    if let Some(k) = args[..sep].iter().position(|a| a == "--mono-offset") {
        // A time namespace: this command sees CLOCK_MONOTONIC shifted, as another machine would.
        argv.extend(
            ["unshare", "--time", "--fork", "--monotonic", &args[k + 1]]
                .iter()
                .map(|s| s.to_string()),
        );
    }
    argv.extend_from_slice(&args[sep + 1..]);
    let e = Command::new(&argv[0]).args(&argv[1..]).env("NETLAB_NODE", node).exec();
    die(e)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or(&[]).to_vec();
    match args.first().map(String::as_str) {
        Some("up") => up(&rest),
        Some("down") => down(),
        Some("exec") => exec(&rest),
        Some("switch") => {
            let n = rest[0].parse().unwrap_or_else(|_| die("switch N"));
            let rt = rest.iter().any(|a| a == "--rt");
            if let Err(e) = switch::run(&lab(), &dir(), n, rt) {
                die(e)
            }
        }
        Some("impair") | Some("clear") | Some("stats") | Some("reset-stats") | Some("show")
        | Some("trace") => ask_print(&args.join(" ")),
        // The clock that all nodes share, in µs, from a program that starts fast.
        Some("clock") => println!("{}", sys::now_ns() / 1000),
        Some("carrier" | "nat") => ask_print(&args.join(" ")),
        Some("link") => match (rest.first(), rest.get(1).map(String::as_str)) {
            // Administrative up/down: the sender gets ENETUNREACH, addresses of IPv6 go.
            (Some(node), Some(s @ ("up" | "down"))) => {
                ip(&format!("-n {} link set eth0 {s}", netns(node)));
                if s == "up" {
                    ip_quiet(&format!("-n {} route add default dev eth0", netns(node)));
                }
            }
            _ => die("link NODE up|down"),
        },
        _ => die(
            "usage: netlab up N [--rt] | impair A B [OPTIONS] | clear | show | stats | reset-stats | trace FILE|off | link NODE up|down | carrier NODE on|off | nat NODE SHIFT|off | clock | exec NODE [--mono-offset S] -- CMD | down   (see README.md)",
        ),
    }
}
