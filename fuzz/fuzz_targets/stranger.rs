//! Whatever connections that nobody trusts say, in whatever order: none becomes a link or a client, nothing that is
//! kept of them grows beyond its limits, no nonce is said unless somebody here asked, and nobody has more guesses at
//! the passphrase than there are.
//!
//! An input is a list of steps: what, which connection, and what a message holds.
#![no_main]

use std::collections::BTreeSet;
use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use midip2p_proto::bridge::ToData;
use midip2p_proto::config::{Config, GUESSES_MAX, GUESSES_WITHIN, WAITING_MAX};
use midip2p_proto::control::bus::BusRules;
use midip2p_proto::control::discovery::Via;
use midip2p_proto::control::lifecycle::{ConnId, LinkState, Proof};
use midip2p_proto::control::stage::Stage;
use midip2p_proto::control::trust::{TrustCommand, TrustPolicy};
use midip2p_proto::control::{Action, Control, Identity, Input};
use midip2p_proto::id::{BootId, NodeId};
use midip2p_proto::pairing::{Code, PairingKeys};
use midip2p_proto::time::{LocalTime, Span};
use midip2p_proto::wire::{Message, Pairing};

/// Keys that believe any nonce, and neither kinship nor accord.
#[derive(Debug)]
struct Keys;

impl PairingKeys for Keys {
    fn kinship(&self) -> Option<[u8; 32]> {
        Some([1; 32])
    }

    fn is_kin(&self, _: &[u8; 32]) -> bool {
        false
    }

    fn commitment(&self) -> [u8; 32] {
        [2; 32]
    }

    fn nonce(&self) -> [u8; 32] {
        [3; 32]
    }

    fn code(&self, commitment: &[u8; 32], nonce: &[u8; 32]) -> Option<Code> {
        (commitment[0] == nonce[0]).then(|| Code::of(u64::from(nonce[1])))
    }

    fn has_passphrase(&self) -> bool {
        true
    }

    fn element(&mut self) -> Option<[u8; 32]> {
        Some([4; 32])
    }

    fn agree(&mut self, element: &[u8; 32]) -> bool {
        element[0] & 1 == 0
    }

    fn accord(&self) -> Option<[u8; 32]> {
        Some([5; 32])
    }

    fn is_accord(&self, _: &[u8; 32]) -> bool {
        false
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Which node a byte stands for.
fn node(byte: u8) -> NodeId {
    NodeId([0xA0 | byte & 0xF; 32])
}

struct Stranger {
    control: Control,
    now: LocalTime,
    conns: u64,
    asked: bool,
    /// Which connections were begun here.
    dialed: BTreeSet<ConnId>,
    /// When a guess was had lately.
    guesses: Vec<LocalTime>,
    wrong: u64,
}

impl Stranger {
    fn tell(&mut self, input: Input<'_>) {
        self.control.handle(self.now, input);
        while let Some(action) = self.control.poll() {
            match action {
                Action::Linked(..)
                | Action::Sealed(..)
                | Action::Client(_)
                | Action::TrustChanged
                | Action::Data(ToData::LinkUp { .. } | ToData::Silence) => {
                    panic!("a stranger was let in: {action:?}")
                }
                Action::Send(_, Message::Pairing(Pairing::Nonce(_))) => {
                    assert!(self.asked, "nobody has asked")
                }
                Action::Send(conn, Message::Pairing(Pairing::Accord(_))) => {
                    assert!(self.dialed.contains(&conn), "who dials in hears none");
                    self.guesses.push(self.now);
                }
                Action::Dial(address) => {
                    self.conns += 1;
                    let conn = ConnId(self.conns);
                    self.dialed.insert(conn);
                    let proof = Proof::Key(node(address.port().to_be_bytes()[1]));
                    let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(Keys));
                    let opened = Input::Opened { conn, address, dialed: true, proof, pairing };
                    self.control.handle(self.now, opened);
                }
                _ => {}
            }
        }
        self.guesses.retain(|at| self.now - *at < GUESSES_WITHIN);
        assert!(self.guesses.len() <= GUESSES_MAX);
        assert!(self.control.wrong_passphrases() >= self.wrong);
        self.wrong = self.control.wrong_passphrases();
        let waiting = |state| state == LinkState::Pairing;
        let peers = self.control.peers();
        assert!(peers.iter().filter(|p| waiting(p.state)).count() <= 4 * WAITING_MAX);
        assert!(self.control.trusted().next().is_none());
    }

    fn step(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let [what, which] = *take(bytes, 2)? else { return None };
        let conn = ConnId(self.conns.saturating_sub(u64::from(which & 0x1F)));
        match what % 8 {
            0 | 1 => {
                self.conns += 1;
                let conn = ConnId(self.conns);
                let address = SocketAddr::from(([10, 0, 0, which >> 4], 40_000));
                let proof = if what & 8 == 0 { Proof::Key(node(which)) } else { Proof::None };
                let pairing: Option<Box<dyn PairingKeys>> =
                    (what & 8 == 0).then(|| Box::new(Keys) as _);
                self.tell(Input::Opened { conn, address, dialed: false, proof, pairing });
            }
            2 => self.tell(Input::Closed(conn)),
            3 => {
                self.now += Span::from_ms(i64::from(which) * 10);
                self.tell(Input::Timeout);
                assert!(self.control.wake_at() > self.now, "it spins");
            }
            4 => {
                let command = match which >> 4 & 3 {
                    0 => {
                        self.asked = true;
                        TrustCommand::Ask(node(which))
                    }
                    1 => TrustCommand::Refuse(node(which)),
                    _ => TrustCommand::Remove(node(which)),
                };
                self.tell(Input::Trust(1, command));
            }
            5 => {
                let address = SocketAddr::from(([10, 0, 1, which >> 4], u16::from(which & 0xF)));
                self.tell(Input::Found { address, node: None, via: Via::Multicast });
            }
            _ => {
                let [kind, high, low] = *take(bytes, 3)? else { return None };
                let payload = take(bytes, usize::from(u16::from_be_bytes([high, low])))?;
                match Message::decode(u32::from(kind), payload) {
                    Ok(Some(
                        Message::Fragment(_) | Message::Datagram(_) | Message::JsonMidi(_),
                    ))
                    | Ok(None) => self.tell(Input::Heard(conn)),
                    Ok(Some(message)) => self.tell(Input::Message(conn, message)),
                    Err(_) if kind == 1 => self.tell(Input::BadHello(conn)),
                    Err(_) => self.tell(Input::Misbehaved(conn, "it cannot be read")),
                }
            }
        }
        Some(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let identity = Identity {
        node: NodeId([9; 32]),
        boot: BootId(1),
        name: "here".into(),
        udp_port: 5004,
        tcp_port: 5005,
        domains: vec![],
    };
    let config = Config { trust: TrustPolicy::Session, ..Config::default() };
    let control = Control::new(identity, BusRules::default(), config, 7);
    let mut stranger = Stranger {
        control,
        now: LocalTime::ZERO,
        conns: 0,
        asked: false,
        dialed: BTreeSet::new(),
        guesses: Vec::new(),
        wrong: 0,
    };
    let mut rest = bytes;
    while stranger.step(&mut rest).is_some() {}
});
