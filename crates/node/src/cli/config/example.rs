//! The example file: the table, with what the flags say of themselves. Nothing in it holds until its `#` is gone.

use super::table::{Kind, SETTINGS};

/// Columns of a comment.
const WIDTH: usize = 96;

const HEAD: &str = "\
# The config of a midip2p node. Take the # from what is to hold; `midip2p config check` says whether it is right.
# Variables (MIDIP2P_PORT_UDP) stand above this file, flags (--port-udp) above both.
";

/// The file.
pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push('\n');
        let help = match setting.kind {
            // The text is the flag's, which says the opposite.
            Kind::Opposite => format!("false: {}", setting.help()),
            _ => setting.help(),
        };
        text.extend(wrapped(&help).into_iter().map(|line| format!("# {line}\n")));
        text.push_str(&format!("#{} = {}\n", setting.key, setting.example));
    }
    text
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
