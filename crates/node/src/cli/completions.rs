//! `midip2p completions`: so that a shell completes verbs and options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::exit::Exit;
use super::{Cli, output};

/// Print what a shell needs to complete these commands.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  midip2p completions bash > ~/.local/share/bash-completion/completions/midip2p\n  midip2p completions zsh > ~/.zfunc/_midip2p\n  midip2p completions fish > ~/.config/fish/completions/midip2p.fish"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "midip2p", &mut script);
    output::all(&script)?;
    Ok(Exit::Fine)
}
