//! From what a person wrote to a port: exact names first, then what comes near.

use midip2p_proto::control::bus::{PortView, Reach, Wish};
use midip2p_proto::control::port::Direction;

/// Names offered when one is not found.
const SUGGESTIONS: usize = 3;

/// How alike two names must be to be offered, 0 to 1.
const ALIKE: f64 = 0.6;

/// No port, or more than one, has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// What is wrong, for people.
    pub error: String,
    /// Names that do exist, the nearest first.
    pub closest: Vec<String>,
}

/// The port of that direction that a name means: its name ("Keys"), or with its node ("Keys @ studio");
/// case does not count. A local port goes before remote ones.
///
/// # Errors
/// When there is none, or several remote ports have the name.
pub fn resolve(ports: &[PortView], name: &str, direction: Direction) -> Result<Wish, NotFound> {
    let of_direction = || ports.iter().filter(|p| p.direction == direction);
    let same = |a: &str| a.to_lowercase() == name.trim().to_lowercase();
    if let Some(port) = of_direction().find(|p| same(&p.name)) {
        return Ok(wish(port));
    }
    let plain: Vec<&PortView> = of_direction().filter(|p| same(plain_name(p))).collect();
    match plain.as_slice() {
        [port] => Ok(wish(port)),
        [] => {
            let kind = direction.as_str();
            let closest = closest(of_direction().map(|p| p.name.as_str()), name);
            let error = match closest.first() {
                Some(first) => format!("there is no {kind} {name:?}; did you mean {first:?}?"),
                None => format!("there is no {kind} {name:?}; `midip2p ports` lists what there is"),
            };
            Err(NotFound { error, closest })
        }
        several => Err(NotFound {
            error: format!("several nodes have a {} {name:?}: say which", direction.as_str()),
            closest: several.iter().map(|p| p.name.clone()).collect(),
        }),
    }
}

/// A port's name without its node.
fn plain_name(port: &PortView) -> &str {
    match &port.reach {
        Reach::Local(_) => &port.name,
        Reach::Remote { display, .. } => port
            .name
            .strip_suffix(display.as_str())
            .map_or(&port.name, |n| n.trim_end_matches(" @ ")),
    }
}

fn wish(port: &PortView) -> Wish {
    let node = match &port.reach {
        Reach::Local(_) => None,
        Reach::Remote { node, .. } => Some(*node),
    };
    Wish::Port { node, identity: port.identity.clone() }
}

/// Those names that come nearest, the nearest first.
#[must_use]
pub fn closest<'a>(names: impl Iterator<Item = &'a str>, wanted: &str) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| {
            let lower = name.to_lowercase();
            let whole = strsim::jaro_winkler(&lower, &wanted);
            let plain = lower.split(" @ ").next().unwrap_or(&lower);
            let near = strsim::jaro_winkler(plain, &wanted).max(whole);
            // A part of a name is a good guess, too: "keystation" for "Keystation 49 MIDI 1".
            let part = if lower.contains(&wanted) && !wanted.is_empty() { 0.95 } else { 0.0 };
            (near.max(part), name)
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use midip2p_proto::control::port::{Home, PortIdentity};
    use midip2p_proto::id::{NodeId, PortId};

    fn port(name: &str, node: Option<(u8, &str)>) -> PortView {
        PortView {
            id: PortId(1),
            name: node.map_or(name.to_owned(), |(_, n)| format!("{name} @ {n}")),
            direction: Direction::Destination,
            identity: PortIdentity(format!("x:{name}")),
            reach: match node {
                None => Reach::Local(Home::App),
                Some((n, d)) => {
                    Reach::Remote { node: NodeId([n; 32]), display: d.to_owned(), link: None }
                }
            },
            exported: true,
            routes: 0,
            looped: false,
            playout: None,
        }
    }

    #[test]
    fn a_name_finds_its_port_and_a_slip_the_nearest() {
        let ports = [
            port("Synth", None),
            port("Synth", Some((1, "mac"))),
            port("Piano", Some((1, "mac"))),
            port("Drums", Some((1, "mac"))),
            port("Drums", Some((2, "pc"))),
        ];
        let find = |name| resolve(&ports, name, Direction::Destination);
        let node = |wish: Wish| match wish {
            Wish::Port { node, .. } => node.map(|n| n.0[0]),
            Wish::All => panic!("not asked for"),
        };
        assert_eq!(node(find("synth").unwrap()), None);
        assert_eq!(node(find("Synth @ mac").unwrap()), Some(1));
        assert_eq!(node(find("piano").unwrap()), Some(1));
        assert_eq!(find("drums").unwrap_err().closest, ["Drums @ mac", "Drums @ pc"]);
        let slip = find("Pinao").unwrap_err();
        assert_eq!(slip.closest.first().map(String::as_str), Some("Piano @ mac"));
        assert!(slip.error.contains("did you mean"), "{}", slip.error);
        assert!(find("xyzzy").unwrap_err().closest.is_empty());
        assert!(resolve(&ports, "Synth", Direction::Source).is_err());
    }
}
