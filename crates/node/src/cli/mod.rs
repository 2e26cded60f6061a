//! The command line: one file a verb.
//!
//! `up` is the node. All other verbs are clients of a running one, over its HTTP interface and its
//! WebSocket, by the socket of its user (`way.rs`); `demo` and `bench` run two nodes of their own.
//!
//! People get tables and sentences, scripts `--json` and exit codes: 0 fine, 1 failed, 2 bad input or
//! wrong usage, 130 and 143 when Ctrl-C or SIGTERM ended what was under way.

mod up;

mod config;
mod doctor;

mod browser;
mod clock;
mod panic;
mod peers;
mod ping;
mod ports;
mod progress;
mod route;
mod session;
mod trust;

mod monitor;
mod play;
mod playout;
mod send;

mod bench;
mod completions;
mod demo;

mod client;
mod describe;
mod exit;
#[cfg(test)]
mod fake;
mod inbox;
mod lines;
mod listing;
mod log;
mod output;
mod passphrase;
mod performance;
mod socket;
mod text;
mod way;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// MIDI between machines as if they were one studio.
///
/// Run `midip2p up` on each machine of a network: the nodes find each other, and the MIDI ports of each
/// appear on the others.
#[derive(Debug, Parser)]
#[command(
    name = "midip2p",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Examples:
  midip2p up                          make this machine part of the studio
  midip2p doctor                      see what would hurt here, before it does
  midip2p trust                       see who wants to connect, and let it
  midip2p ports                       see everybody's keyboards and synthesizers
  midip2p play song.mid --to Synth    play a file on one of them
  midip2p monitor                     see what is played
  midip2p demo                        see it work, on this machine alone"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(Box<up::UpArgs>),
    Config(Box<config::ConfigArgs>),
    Doctor(doctor::DoctorArgs),
    Ports(ports::PortsArgs),
    Peers(peers::PeersArgs),
    Ping(ping::PingArgs),
    Clock(clock::ClockArgs),
    Trust(trust::TrustArgs),
    Route(route::RouteArgs),
    Session(session::SessionArgs),
    Browser(browser::BrowserArgs),
    Play(play::PlayArgs),
    Send(send::SendArgs),
    Monitor(monitor::MonitorArgs),
    Panic(panic::PanicArgs),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Up(_) => up::run(),
        Verb::Config(args) => config::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Ports(args) => ports::run(&args),
        Verb::Peers(args) => peers::run(&args),
        Verb::Ping(args) => ping::run(&args),
        Verb::Clock(args) => clock::run(&args),
        Verb::Trust(args) => trust::run(&args),
        Verb::Route(args) => route::run(&args),
        Verb::Session(args) => session::run(&args),
        Verb::Browser(args) => browser::run(&args),
        Verb::Play(args) => play::run(&args),
        Verb::Send(args) => send::run(&args),
        Verb::Monitor(args) => monitor::run(&args),
        Verb::Panic(args) => panic::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Completions(args) => completions::run(&args),
    };
    let exit = done.unwrap_or_else(|error| {
        // With nobody there to read it, the number still says it.
        let _ = writeln!(std::io::stderr(), "error: {}", exit::words(&error));
        exit::of_error(&error)
    });
    exit.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_option_explained() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments().filter(|a| !a.is_hide_set()) {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name}", verb.get_name());
            }
        }
    }
}
