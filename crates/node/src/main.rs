//! The program `midip2p`: see [`midip2p::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    midip2p::cli::main()
}
