//! Names of ports and clients, as other programs give them and as we give them.

// Which of these are used depends on the backends that are built.
#![cfg_attr(not(feature = "jack"), allow(dead_code))]

use super::CLIENT_MARK;

/// Names that a client of ours tries in turn: the bare mark, then with the node's name.
pub(crate) fn own_client_names(node_name: &str, max_bytes: usize) -> [String; 2] {
    // Colons part client and port in JACK, and a NUL ends a name in C.
    let node: String = node_name.chars().filter(|c| *c != ':' && !c.is_control()).collect();
    let long = format!("{CLIENT_MARK}-{}", node.trim());
    [CLIENT_MARK.to_owned(), cut(&long, max_bytes).to_owned()]
}

/// Whether a client or port of that name belongs to a midip2p process, so that it is never exported.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(CLIENT_MARK)
}

/// At most `max_bytes` of `name`, cut between characters.
pub(crate) fn cut(name: &str, max_bytes: usize) -> &str {
    let mut end = name.len().min(max_bytes);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// A client's name without the numbers that systems and programs put into it: process ids in
/// parentheses ("FLUID Synth (4711)"), sequencer clients in brackets ("a2j:Keys [20] (capture)"),
/// and the number in the kernel's name for the nameless ("Client-128").
pub(crate) fn steady(name: &str) -> String {
    if let Some(number) = name.strip_prefix("Client-")
        && is_number(number, 1)
    {
        return "Client".to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    for word in name.split(' ') {
        let bracketed = word.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
        let parenthesised = word.strip_prefix('(').and_then(|w| w.strip_suffix(')'));
        // Three digits and more: "Synth (2)" is a name that somebody gave.
        if bracketed.is_some_and(|n| is_number(n, 1))
            || parenthesised.is_some_and(|n| is_number(n, 3))
        {
            continue;
        }
        kept.push(word);
    }
    if kept.is_empty() { name.to_owned() } else { kept.join(" ") }
}

/// `base`, or for a twin `base #2`, `base #3`…: the first that is not taken.
pub(crate) fn distinct(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = base.to_owned();
    let mut counter = 2_u32;
    while taken(&name) {
        name = format!("{base} #{counter}");
        counter += 1;
    }
    name
}

/// What people call a port: its own name when that names its client too, else both.
pub(crate) fn readable(client: &str, port: &str) -> String {
    let (client, port) = (client.trim(), port.trim());
    if port.is_empty() {
        client.to_owned()
    } else if client.is_empty() || port.contains(client) {
        port.to_owned()
    } else {
        format!("{client}: {port}")
    }
}

fn is_number(text: &str, digits_min: usize) -> bool {
    text.len() >= digits_min && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_system_are_left_out_and_those_of_people_stay() {
        for (name, kept) in [
            ("Client-128", "Client"),
            ("Client-A", "Client-A"),
            ("FLUID Synth (4711)", "FLUID Synth"),
            ("a2j:Keys [20] (capture)", "a2j:Keys (capture)"),
            ("Synth (2)", "Synth (2)"),
            ("[20]", "[20]"),
            ("Launchpad Mini MK3", "Launchpad Mini MK3"),
        ] {
            assert_eq!(steady(name), kept);
        }
    }

    #[test]
    fn twins_are_counted() {
        let taken = ["Keys", "Keys #2"];
        assert_eq!(distinct("Keys", |n| taken.contains(&n)), "Keys #3");
        assert_eq!(distinct("Pads", |n| taken.contains(&n)), "Pads");
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut("Flügel", 3), "Fl");
        assert_eq!(cut("Flügel", 4), "Flü");
        assert_eq!(cut("Flügel", 99), "Flügel");
        assert_eq!(own_client_names("a:b\0c", 11), ["midip2p", "midip2p-abc"]);
    }

    #[test]
    fn a_port_is_called_by_client_and_port_without_repeating() {
        assert_eq!(readable("Keys", "Keys MIDI 1"), "Keys MIDI 1");
        assert_eq!(readable("Synth", "in"), "Synth: in");
        assert_eq!(readable("Synth", ""), "Synth");
    }
}
