//! Two nodes that may hold the same passphrase, and others that guess it.

use super::*;
use crate::config::{GUESSES_MAX, GUESSES_WITHIN, PASSPHRASE_PAUSE};
use crate::control::discovery::Via;
use crate::control::trust::Tie;

fn session(passphrases: [Option<u8>; 2]) -> Two {
    let mut two = Two::with([TrustPolicy::Session; 2]);
    two.passphrases = passphrases;
    two
}

fn tie(two: &Two, end: usize) -> Option<Tie> {
    two.peer(end)?.tie
}

/// What was said so far of what a filter wants, by the end that said it.
fn said(two: &Two, what: impl Fn(&Pairing) -> bool) -> [usize; 2] {
    [0, 1].map(|end| {
        let of_end = two.wire.iter().filter(|(to, _, _)| *to == 1 - end);
        of_end.filter(|(_, _, m)| matches!(m, Message::Pairing(step) if what(step))).count()
    })
}

fn is_accord(step: &Pairing) -> bool {
    matches!(step, Pairing::Accord(_))
}

fn notes(two: &Two, end: usize, what: impl Fn(&Note) -> bool) -> usize {
    two.did[end].iter().filter(|a| matches!(a, Action::Note(note) if what(note))).count()
}

/// Both are told the time until it has come.
fn wait(two: &mut Two, span: Span) {
    let until = two.now + span;
    while two.now < until {
        two.now += Span::from_s(1);
        for end in 0..2 {
            two.tell(end, Input::Timeout);
        }
        two.carry();
    }
}

#[test]
fn one_passphrase_links_and_two_or_none_do_not() {
    for (passphrases, linked) in [
        ([Some(1), Some(1)], true),
        ([Some(1), Some(2)], false),
        ([Some(1), None], false),
        ([None, Some(1)], false),
    ] {
        for dialler in 0..2 {
            let mut two = session(passphrases);
            two.connect(dialler);
            two.carry();
            assert_eq!(two.linked(), [linked; 2], "{passphrases:?}");
            let ties = [0, 1].map(|end| tie(&two, end));
            assert_eq!(ties, [linked.then_some(Tie::Passphrase); 2]);
            assert_eq!(two.ends[0].trusted().count() + two.ends[1].trusted().count(), 0);
            let both = passphrases[0].is_some() && passphrases[1].is_some();
            for end in 0..2 {
                // Who proves itself asks nobody, and who does not is said: once, as what it is.
                let waits = notes(&two, end, |n| matches!(n, Note::Waits { .. }));
                let other = notes(&two, end, |n| matches!(n, Note::OtherPassphrase(_)));
                assert_eq!((waits, other), (usize::from(!both), usize::from(both && !linked)));
                let wrong = two.ends[end].wrong_passphrases();
                assert_eq!(wrong, u64::from(both && !linked), "{passphrases:?} {dialler}");
            }
            if linked {
                let decided = two.decide(0, TrustCommand::Remove(NODES[1]));
                assert_eq!(decided, Err(TrustError::Passphrase));
            }
            if !both {
                // As before, people can compare a code.
                two.compare();
            }
        }
    }
}

#[test]
fn who_dials_says_its_accord_first_and_hears_none_unless_it_is_right() {
    for right in [true, false] {
        let mut two = session([Some(1), Some(if right { 1 } else { 2 })]);
        two.connect(0);
        let mut heard = vec![];
        while let Some((end, conn, message)) = two.wire.pop_front() {
            if matches!(message, Message::Pairing(step) if is_accord(&step)) {
                heard.push(1 - end);
            }
            two.tell(end, Input::Message(conn, message));
        }
        assert_eq!(heard, if right { vec![0, 1] } else { vec![0] });
    }
}

#[test]
fn limits_that_somebody_set_hold_for_who_has_the_passphrase() {
    let mut two = session([Some(1), Some(1)]);
    let rights = Rights { send: false, ..Rights::ALL };
    two.ends[0].remember_trusted([(NODES[1], Trusted { name: String::new(), rights })]);
    two.connect(1);
    two.carry();
    assert_eq!(two.linked(), [true; 2]);
    let plays = |end: usize| {
        two.did[end].iter().find_map(|a| match a {
            Action::Data(ToData::LinkUp { plays, .. }) => Some(*plays),
            _ => None,
        })
    };
    assert_eq!([plays(0), plays(1)], [Some(false), Some(true)]);
}

#[test]
fn each_is_said_once_and_nothing_before_its_time() {
    let element = Pairing::Element(hash(NODES[0], 1, &[200; 32]));
    let accord = Pairing::Accord(hash(NODES[0], 1, &[1; 32]));
    for passphrase in [Some(1), None] {
        for step in [element, accord] {
            let mut two = session([None, passphrase]);
            let conn = two.connect(0);
            two.carry();
            let say =
                |two: &mut Two, step| two.tell(1, Input::Message(conn, Message::Pairing(step)));
            // An accord without an element can be none; who knows no passphrase does not care.
            say(&mut two, step);
            let early = step == accord && passphrase.is_some();
            assert_eq!(two.state(1) == Some(LinkState::Pairing), !early, "{step:?}");
            if !early {
                say(&mut two, step);
                let end = passphrase.map_or(LinkState::Pairing, |_| LinkState::Backoff);
                assert_eq!(two.state(1), Some(end), "twice: {step:?}");
            }
            assert_eq!(two.ends[1].wrong_passphrases(), 0, "that was no guess");
        }
    }
    let mut two = session([None, Some(1)]);
    let conn = two.connect(0);
    two.carry();
    let none = Pairing::Element([9; 32]);
    two.tell(1, Input::Message(conn, Message::Pairing(none)));
    assert_eq!(two.state(1), Some(LinkState::Backoff));
    assert_eq!(said(&two, is_accord), [0, 0]);
}

/// A guess of `0` at the passphrase of `1`: what `1` is told is as if `0` had that passphrase.
fn guess(two: &mut Two, dialler: usize, passphrase: u8) {
    two.passphrases[0] = Some(passphrase);
    two.connect(dialler);
    two.carry();
}

#[test]
fn three_wrong_guesses_and_nobody_hears_an_element_for_a_while() {
    for dialler in 0..2 {
        let mut two = session([None, Some(1)]);
        for wrong in 2..5 {
            assert_eq!(two.ends[1].wrong_passphrases(), wrong - 2);
            guess(&mut two, dialler, u8::try_from(wrong).unwrap());
            assert_eq!(two.linked(), [false; 2]);
        }
        // Now it begins anew and has the right one, and nobody listens.
        two.ends[0] = control(NODES[0], TrustPolicy::Session);
        guess(&mut two, dialler, 1);
        assert_eq!((two.linked(), two.ends[1].wrong_passphrases()), ([false; 2], 3));
        // Nor to another key of its machine that says it is of this user, and is not.
        two.users = [Some(1), Some(2)];
        two.connect(dialler);
        assert_eq!(said(&two, |step| matches!(step, Pairing::Element(_)))[1], 0);
        two.carry();
        assert_eq!(two.linked(), [false; 2]);
        // Kin and whom somebody confirms come all the same.
        two.users = [Some(1), Some(1)];
        two.connect(dialler);
        two.carry();
        assert_eq!(two.linked(), [true; 2]);
        two.tell(1, Input::Closed(ConnId(two.conns.into())));
        two.tell(0, Input::Closed(ConnId(two.conns.into())));
        two.users = [None; 2];
        wait(&mut two, PAIRING_PAUSE);
        guess(&mut two, dialler, 1);
        assert_eq!(two.linked(), [true; 2], "a right one, later");
    }
}

#[test]
fn whoever_walks_away_with_an_accord_has_had_a_guess() {
    let ways: [fn(&mut Two, ConnId); 5] = [
        |two, conn| two.tell(1, Input::Closed(conn)),
        |two, conn| {
            let bye = Bye { reason: ByeReason::Other, text: String::new() };
            two.tell(1, Input::Message(conn, Message::Bye(bye)));
        },
        |two, conn| {
            let wrong = Pairing::Accord([0; 32]);
            two.tell(1, Input::Message(conn, Message::Pairing(wrong)));
        },
        |two, _| {
            // The same node comes by another connection.
            two.connect(0);
            two.wire.retain(|(end, _, m)| *end == 1 && matches!(m, Message::Hello(_)));
            two.carry();
        },
        |two, conn| {
            for _ in 0..8 {
                two.now += Span::from_s(1);
                two.tell(1, Input::Heard(conn));
                two.tell(1, Input::Timeout);
            }
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut two = session([Some(2), Some(1)]);
        for times in 1..=3 {
            let conn = two.connect(1);
            // All that the other says comes, and nothing of what it would answer.
            while said(&two, is_accord)[1] == 0 {
                let (end, conn, message) = two.wire.pop_front().unwrap();
                two.tell(end, Input::Message(conn, message));
            }
            two.wire.clear();
            assert_eq!(two.ends[1].wrong_passphrases(), times - 1, "{number}");
            way(&mut two, conn);
            assert_eq!(two.ends[1].wrong_passphrases(), times, "{number}");
            two.wire.clear();
            (0..2).for_each(|end| {
                for conn in 1..=two.conns {
                    two.tell(end, Input::Closed(ConnId(conn.into())));
                }
            });
            two.wire.clear();
        }
        two.connect(1);
        two.carry();
        assert_eq!(two.ends[1].wrong_passphrases(), 3, "{number}: it must wait");
    }
}

#[test]
fn two_connections_at_once_are_no_guess_once_one_of_them_is_proven() {
    let mut lost = 0;
    for order in [[0, 1], [1, 0]] {
        let mut two = session([Some(1), Some(1)]);
        for _ in 0..5 {
            for from in order {
                two.connect(from);
                // The first has said its accord before the other begins.
                while from == order[0] && said(&two, is_accord) == [0, 0] {
                    let (end, conn, message) = two.wire.pop_front().unwrap();
                    two.tell(end, Input::Message(conn, message));
                }
            }
            two.carry();
            assert_eq!(two.linked(), [true; 2], "{order:?}");
            lost += two.ends[order[0]].wrong_passphrases();
            let conns = two.conns;
            for conn in 1..=conns {
                (0..2).for_each(|end| two.tell(end, Input::Closed(ConnId(conn.into()))));
            }
            two.wire.clear();
        }
    }
    assert!(lost > 0, "of some the guess was open when the other took their place");
}

#[test]
fn whom_somebody_confirmed_has_no_more_guesses_than_others_and_stays_confirmed() {
    let mut two = session([None, Some(1)]);
    two.ends[1].remember_trusted([(NODES[0], trusted())]);
    for wrong in 2..5 {
        two.ends[0] = control(NODES[0], TrustPolicy::Session);
        guess(&mut two, 0, wrong);
        assert_eq!(two.linked(), [false; 2]);
    }
    two.ends[0] = control(NODES[0], TrustPolicy::Session);
    two.passphrases[0] = Some(1);
    two.connect(0);
    two.carry();
    assert_eq!((two.linked(), two.ends[1].wrong_passphrases()), ([false; 2], 3));
    two.compare();
    two.confirm(0).unwrap();
    assert_eq!(two.linked(), [true; 2]);
}

/// Somebody with many addresses and keys guesses, and one that has the passphrase comes meanwhile.
#[test]
fn all_others_have_so_many_guesses_in_a_minute_and_who_comes_then_has_to_wait() {
    let mut two = session([Some(1), Some(1)]);
    let accord = Message::Pairing(Pairing::Accord([0; 32]));
    let guess = |two: &mut Two, number: u8| {
        let (conn, peer) = (ConnId(1_000 + u64::from(number)), NodeId([100 + number; 32]));
        let (own, passphrase) = (NODES[1], Some(1));
        let keys = Keys { secret: 1, own, peer, passphrase, ..Keys::default() };
        let address = SocketAddr::from(([10, 1, number, 1], 40_000));
        let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(keys));
        let proof = Proof::Key(peer);
        two.tell(1, Input::Opened { conn, address, dialed: false, proof, pairing });
        crowd::crowd_says(&mut two.ends[1], conn.0, 100 + number, hello::UNPAIRED);
        let element = Pairing::Element(hash(peer, 1, &[200; 32]));
        two.tell(1, Input::Message(conn, Message::Pairing(element)));
        let has_element = said(two, |step| matches!(step, Pairing::Element(_)))[1] > 0;
        two.wire.clear();
        two.tell(1, Input::Message(conn, accord.clone()));
        two.wire.clear();
        has_element
    };
    let heard = (0..100).filter(|number| guess(&mut two, *number)).count();
    assert_eq!(heard, GUESSES_MAX);
    assert_eq!(two.ends[1].wrong_passphrases(), GUESSES_MAX as u64);
    // An honest one waits for it, and nobody is asked to guess.
    let conn = two.connect(0);
    two.carry();
    assert_eq!(two.linked(), [false; 2]);
    wait(&mut two, GUESSES_WITHIN - Span::from_s(2));
    assert_eq!(two.linked(), [false; 2]);
    wait(&mut two, Span::from_s(4));
    assert_eq!(two.linked(), [true; 2]);
    assert_eq!(two.ends[1].wrong_passphrases(), GUESSES_MAX as u64);
    assert_eq!(two.peer(0).unwrap().link.is_some(), conn.0 > 0);
    // Trusted ones and kin never waited.
    let mut two = session([Some(1), Some(1)]);
    assert_eq!((0..100).filter(|number| guess(&mut two, *number)).count(), GUESSES_MAX);
    two.users = [Some(3); 2];
    two.connect(0);
    two.carry();
    assert_eq!((two.linked(), tie(&two, 1)), ([true; 2], Some(Tie::User)));
}

/// However many connections it opens before the first guess is known to be wrong.
#[test]
fn a_machine_has_three_guesses_and_not_as_many_as_it_has_connections() {
    for dialed in [false, true] {
        let mut two = session([Some(1), Some(1)]);
        let conn = |number: u8| ConnId(1_000 + u64::from(number));
        for number in 0..20u8 {
            let peer = NodeId([100 + number; 32]);
            let keys = Keys { own: NODES[1], peer, passphrase: Some(1), ..Keys::default() };
            let address = SocketAddr::from(([10, 1, 1, 1], 5_005 + u16::from(number)));
            let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(keys));
            let (conn, proof) = (conn(number), Proof::Key(peer));
            two.tell(1, Input::Opened { conn, address, dialed, proof, pairing });
            crowd::crowd_says(&mut two.ends[1], conn.0, 100 + number, hello::UNPAIRED);
            let element = Pairing::Element(hash(peer, 0, &[200; 32]));
            two.tell(1, Input::Message(conn, Message::Pairing(element)));
        }
        let accords = said(&two, is_accord)[1];
        assert_eq!(accords, if dialed { 3 } else { 0 });
        for number in 0..20 {
            let accord = Message::Pairing(Pairing::Accord([0; 32]));
            two.tell(1, Input::Message(conn(number), accord));
        }
        assert_eq!(two.ends[1].wrong_passphrases(), 3, "{dialed}");
    }
}

#[test]
fn guesses_that_are_under_way_are_counted_before_they_are_known_to_be_wrong() {
    let mut two = session([Some(1), Some(1)]);
    let mut accords = 0;
    for number in 0..60u8 {
        let (conn, peer) = (ConnId(1_000 + u64::from(number)), NodeId([100 + number; 32]));
        let keys = Keys { own: NODES[1], peer, passphrase: Some(1), ..Keys::default() };
        let address = SocketAddr::from(([10, 1, number, 1], 5_005));
        let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(keys));
        let proof = Proof::Key(peer);
        // This node dials them, as it does whom somebody announces.
        two.tell(1, Input::Opened { conn, address, dialed: true, proof, pairing });
        crowd::crowd_says(&mut two.ends[1], conn.0, 100 + number, hello::UNPAIRED);
        let element = Pairing::Element(hash(peer, 0, &[200; 32]));
        two.tell(1, Input::Message(conn, Message::Pairing(element)));
        accords += said(&two, is_accord)[1];
        two.wire.clear();
    }
    assert_eq!(accords, GUESSES_MAX);
}

#[test]
fn a_slip_is_tried_once_by_each_and_is_mended_by_a_restart() {
    let mut two = session([Some(2), Some(1)]);
    for end in 0..2u8 {
        let node = NODES[usize::from(1 - end)];
        // A node has several addresses.
        for address in [address(2 - end), SocketAddr::from(([10, 0, 9, end], 5005))] {
            two.tell(
                usize::from(end),
                Input::Found { address, node: Some(node), via: Via::Multicast },
            );
        }
    }
    let mut tries = 0;
    let until = two.now + PASSPHRASE_PAUSE - Span::from_s(30);
    while two.now < until {
        for end in 0..2 {
            let dials = |a: &Action| matches!(a, Action::Dial(_));
            let dialled = two.did[end].iter().filter(|a| dials(a)).count();
            two.did[end].retain(|a| !dials(a));
            for _ in 0..dialled {
                tries += 1;
                two.connect(end);
                two.carry();
            }
        }
        two.now += Span::from_s(1);
        (0..2).for_each(|end| two.tell(end, Input::Timeout));
        two.carry();
    }
    assert_eq!(tries, 2, "once each, and neither is refused for it");
    two.ends[0] = control(NODES[0], TrustPolicy::Session);
    two.passphrases[0] = Some(1);
    two.connect(0);
    two.carry();
    assert_eq!(two.linked(), [true; 2]);
}

#[test]
fn nodes_of_one_session_come_all_at_once_from_one_machine_and_none_is_sent_away() {
    const MANY: u8 = 60;
    let mut control = control(NODES[0], TrustPolicy::Session);
    let now = LocalTime::ZERO;
    let ends = |n: u8| (NODES[0], NodeId([100 + n; 32]));
    let keys =
        |n, (own, peer)| Keys { secret: n, own, peer, passphrase: Some(7), ..Keys::default() };
    for n in 0..MANY {
        let (conn, proof) = (ConnId(n.into()), Proof::Key(ends(n).1));
        let pairing: Option<Box<dyn PairingKeys>> = Some(Box::new(keys(n, ends(n))));
        let address = SocketAddr::from(([10, 0, 0, 9], 40_000 + u16::from(n)));
        control.handle(now, Input::Opened { conn, address, dialed: false, proof, pairing });
        crowd::crowd_says(&mut control, n.into(), 100 + n, hello::UNPAIRED);
    }
    let of = |n| {
        let (own, peer) = ends(n);
        let mut keys = keys(n, (peer, own));
        assert!(keys.agree(&hash(own, n, &[200; 32])));
        keys
    };
    let mut say = |n: u8, step| {
        control.handle(now, Input::Message(ConnId(n.into()), Message::Pairing(step)));
    };
    for n in 0..MANY {
        say(n, Pairing::Element(of(n).element().unwrap()));
        say(n, Pairing::Commitment(of(n).commitment()));
    }
    (0..MANY).for_each(|n| say(n, Pairing::Accord(of(n).accord().unwrap())));
    (0..MANY).for_each(|n| crowd::crowd_says(&mut control, n.into(), 100 + n, 0));
    let linked = control.peers().iter().filter(|p| p.tie == Some(Tie::Passphrase)).count();
    assert_eq!((linked, closed(&mut control)), (MANY.into(), vec![]));
}
