//! Who has the passphrase is known by it, and what somebody in between can do about it.

use std::collections::BTreeSet;

use midip2p_proto::id::NodeId;
use midip2p_proto::random::Random;

use super::*;

const A: NodeId = NodeId([4; 32]);
const B: NodeId = NodeId([5; 32]);
const PHRASE: &str = "correct horse battery";

fn end(secret: u8, (own, peer): (NodeId, NodeId), phrase: &str, drawn: u8) -> Exchange {
    let ends = Ends { own, peer, dialed: own == A };
    Exchange::new(&Passphrase::of(phrase).unwrap(), [secret; 32], ends, [drawn; 64])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Both hear the other's element.
fn meet(a: &mut Exchange, b: &mut Exchange) {
    let (of_a, of_b) = (a.element(), b.element());
    assert!(a.agree(&of_b) && b.agree(&of_a));
}

/// Whether each finds the other right.
fn agree(a: &Exchange, b: &Exchange) -> (bool, bool) {
    (a.is_accord(&b.accord().unwrap()), b.is_accord(&a.accord().unwrap()))
}

#[test]
fn what_is_said_is_what_the_protocol_says() {
    // By another program, with the SPAKE2 of a library that is not ours: Warner's in Python.
    let (mut a, mut b) = (end(1, (A, B), PHRASE, 7), end(1, (B, A), PHRASE, 8));
    meet(&mut a, &mut b);
    let (of_a, of_b) = (a.element(), b.element());
    assert_eq!(hex(&of_a), "131179d60bc6477c984abe8be29d0e01cb83088887c8a33da19b29909163a900");
    assert_eq!(hex(&of_b), "916773f2c464102ecfd024cdb4ae977662916700da2d965aba9d4bbdf9f49f4b");
    let accords = [a.accord(), b.accord()].map(|accord| hex(&accord.unwrap()));
    assert_eq!(accords[0], "36e7ae6db582e899accfd1fed0d9e6ed7358ce575a28377431a80eb3e5a10ad5");
    assert_eq!(accords[1], "3c69a1cb6ef789ad4aa5d232d15ed28f00e290f2e0ca58bd9e8d2a1e7bb7f9c6");
}

#[test]
fn one_passphrase_agrees_and_another_does_not() {
    let (mut a, mut b) =
        (end(1, (A, B), PHRASE, 7), end(1, (B, A), " correct  horse\tbattery\n", 8));
    meet(&mut a, &mut b);
    assert_eq!(agree(&a, &b), (true, true));
    let (right, own) = (b.accord().unwrap(), a.accord().unwrap());
    for bit in 0..256 {
        let mut wrong = right;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!a.is_accord(&wrong));
    }
    assert!(!a.is_accord(&own), "thrown back at whoever said it");
    for other in ["Correct horse battery", "correct horse batterY", "correct-horse-battery"] {
        let (mut a, mut b) = (end(1, (A, B), PHRASE, 7), end(1, (B, A), other, 8));
        meet(&mut a, &mut b);
        assert_eq!(agree(&a, &b), (false, false), "{other}");
    }
}

#[test]
fn an_element_is_taken_once_and_what_is_none_not_at_all() {
    let mut a = end(1, (A, B), PHRASE, 7);
    assert_eq!(a.accord(), None);
    assert!(!a.is_accord(&[0; 32]), "before any element");
    // Two is the y of no point of the curve.
    let mut none = [0; 32];
    none[0] = 2;
    assert!(!a.agree(&none));
    let mut b = end(1, (B, A), PHRASE, 8);
    assert!(!a.agree(&b.element()), "once");
    assert_eq!(a.accord(), None);
    // Its own, thrown back, or no secret at all.
    let mut one = [0; 32];
    one[0] = 1;
    let own = end(1, (A, B), PHRASE, 7).element();
    for theirs in [own, one] {
        let mut a = end(1, (A, B), PHRASE, 7);
        let _ = a.agree(&theirs);
        assert!(a.accord().is_none_or(|own| !a.is_accord(&own)));
    }
}

#[test]
fn what_somebody_passes_on_between_two_streams_comes_to_nothing() {
    let m = NodeId([66; 32]);
    // A and B both have the passphrase, and each its stream to M.
    for same_secret in [false, true] {
        for same_ids in [false, true] {
            let (left, right) = (1, if same_secret { 1 } else { 2 });
            let (to_a, to_b) = if same_ids { (B, A) } else { (m, m) };
            let mut a = end(left, (A, to_a), PHRASE, 7);
            let mut b = end(right, (B, to_b), PHRASE, 8);
            meet(&mut a, &mut b);
            let through = same_secret && same_ids;
            assert_eq!(agree(&a, &b), (through, through), "{same_secret} {same_ids}");
        }
    }
}

fn bytes<const N: usize>(random: &mut Random) -> [u8; N] {
    let mut bytes = [0; N];
    bytes
        .chunks_mut(8)
        .for_each(|c| c.copy_from_slice(&random.next_u64().to_be_bytes()[..c.len()]));
    bytes
}

/// Sessions of A, whose passphrase is one of a hundred, with somebody who guesses; how many guesses were right.
/// `looks`: whether it tries all passphrases against what it has heard, as far as that helps.
fn sessions(count: usize, looks: bool) -> usize {
    let phrase = |n: u64| format!("passphrase number {n}");
    let mut random = Random::new(5);
    let session = |_| {
        let secret = bytes(&mut random);
        let right = random.below(100);
        let at = |own, dialed| Ends { own, peer: if own == A { B } else { A }, dialed };
        let of = |n| Passphrase::of(&phrase(n)).unwrap();
        let mut a = Exchange::new(&of(right), secret, at(A, true), bytes(&mut random));
        let drawn = bytes(&mut random);
        // Its element is made for one guess. Then A says its accord, before it has to say anything.
        let guess = random.below(100);
        let mut m = Exchange::new(&of(guess), secret, at(B, false), drawn);
        let (of_a, of_m) = (a.element(), m.element());
        assert!(a.agree(&of_m) && m.agree(&of_a));
        let accord = a.accord().unwrap();
        if !looks {
            return m.is_accord(&accord);
        }
        // The element that it has said is right for no other: with the same scalar each comes to another.
        let others = (0..100).filter(|n| {
            let mut m = Exchange::new(&of(*n), secret, at(B, false), drawn);
            let fits = m.element() == of_m;
            fits && m.agree(&of_a) && m.is_accord(&accord)
        });
        others.count() == 1
    };
    (0..count).map(session).filter(|right| *right).count()
}

#[test]
fn somebody_who_guesses_has_one_guess_a_session() {
    const SESSIONS: usize = 2_000;
    let right = sessions(SESSIONS, false);
    // One in a hundred; four and a half times the deviation that chance has: √(n · 0.01 · 0.99) = 4.4.
    assert!(right.abs_diff(SESSIONS / 100) <= 20, "{right} of {SESSIONS}");
    // And whatever it looks for afterwards in what it has heard.
    let found = sessions(50, true);
    assert!(found <= 5, "{found} of 50");
}

#[test]
fn what_is_too_short_or_too_long_is_no_passphrase_and_none_is_shown() {
    let short = |text| Passphrase::of(text).unwrap_err();
    assert_eq!(short(""), BadPassphrase::Short(0));
    assert_eq!(short("  a   b  "), BadPassphrase::Short(3));
    assert_eq!(short("elf zeichen"), BadPassphrase::Short(11));
    assert!(Passphrase::of("zwölf Zeichn").is_ok(), "characters, not bytes");
    assert_eq!(short(&"x".repeat(BYTES_MAX + 1)), BadPassphrase::Long);
    assert!(Passphrase::of(&"x".repeat(BYTES_MAX)).is_ok());
    let shown = format!("{:?}", Passphrase::of(PHRASE).unwrap());
    assert_eq!(shown, "Passphrase");
    assert!(Passphrase::of("Zwölf Zeichen").unwrap().is_ambiguous());
    assert!(!Passphrase::of(PHRASE).unwrap().is_ambiguous());
}

#[test]
fn what_is_proposed_is_good_and_never_twice_the_same() {
    let many: BTreeSet<String> = (0..200).map(|_| Passphrase::propose().unwrap()).collect();
    assert_eq!(many.len(), 200);
    let mut letters = BTreeSet::new();
    for one in &many {
        assert!(Passphrase::of(one).is_ok());
        assert_eq!(one.split('-').map(str::len).collect::<Vec<_>>(), [GROUP; GROUPS]);
        letters.extend(one.bytes().filter(|b| *b != b'-'));
    }
    assert!(letters.iter().eq(LETTERS), "all of them, and no other");
    let bits = (LETTERS.len() as f64).log2() * (GROUPS * GROUP) as f64;
    assert!(bits > 60.0, "{bits}");
}
