//! The code that two people compare, and what somebody in between can do about it.

use midip2p_proto::random::Random;

use super::*;

const A: NodeId = NodeId([4; 32]);
const B: NodeId = NodeId([5; 32]);

fn end(secret: u8, nonce: u8, (own, peer): (NodeId, NodeId), user: Option<u8>) -> StreamPairing {
    let ends = Ends { own, peer, dialed: own == A };
    let user = user.map(|user| UserKey::of([user; 32]));
    StreamPairing::new([secret; 32], [nonce; 32], ends, user)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_said_is_what_the_protocol_says() {
    // By another program, with SHA-256 and HMAC of a library that is not ours.
    let a = end(1, 2, (A, B), Some(6));
    let b = end(1, 3, (B, A), Some(6));
    assert_eq!(
        hex(&a.commitment()),
        "aac1b874a2b7d0b72b1738d521ad2f4158bc2dd7decf6375afeaeea2b3530f39"
    );
    assert_eq!(a.code(&b.commitment(), &b.nonce()).unwrap().number(), 194_929);
    assert_eq!(
        hex(&a.kinship().unwrap()),
        "72d115eff5e953a38fa1100c1200a1369afca75a8710160c9f73464316084fb8"
    );
}

#[test]
fn both_ends_come_to_one_code_and_those_of_another_stream_to_another() {
    let (a, b) = (end(1, 2, (A, B), None), end(1, 3, (B, A), None));
    let code = a.code(&b.commitment(), &b.nonce()).unwrap();
    assert_eq!(b.code(&a.commitment(), &a.nonce()), Some(code));
    let other = end(9, 3, (B, A), None);
    let seen = end(9, 2, (A, B), None).code(&other.commitment(), &other.nonce()).unwrap();
    assert_ne!(seen, code);
    // The same secret with another at the other end.
    let c = NodeId([7; 32]);
    let seen = end(1, 2, (A, c), None);
    let other = end(1, 3, (c, A), None);
    assert_ne!(seen.code(&other.commitment(), &other.nonce()).unwrap(), code);
}

#[test]
fn only_the_nonce_that_was_meant_opens_a_commitment_and_ones_own_is_no_answer() {
    let (a, b) = (end(1, 2, (A, B), Some(6)), end(1, 3, (B, A), Some(6)));
    let commitment = b.commitment();
    for bit in 0..256 {
        let (mut nonce, mut other) = (b.nonce(), commitment);
        nonce[bit / 8] ^= 1 << (bit % 8);
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(a.code(&commitment, &nonce), None);
        assert_eq!(a.code(&other, &b.nonce()), None);
        let mut proof = b.kinship().unwrap();
        assert!(a.is_kin(&proof));
        proof[bit / 8] ^= 1 << (bit % 8);
        assert!(!a.is_kin(&proof));
    }
    // Thrown back at whoever said it.
    assert_eq!(a.code(&a.commitment(), &a.nonce()), None);
    assert!(!a.is_kin(&a.kinship().unwrap()));
}

#[test]
fn kinship_holds_on_one_stream_and_for_one_user() {
    let b = end(1, 3, (B, A), Some(6));
    let proof = b.kinship().unwrap();
    assert!(end(1, 2, (A, B), Some(6)).is_kin(&proof));
    assert!(!end(1, 2, (A, B), Some(7)).is_kin(&proof));
    assert!(!end(1, 2, (A, B), None).is_kin(&proof));
    // Passed on by somebody in between: another stream, or another node at the other end.
    assert!(!end(2, 2, (A, B), Some(6)).is_kin(&proof));
    assert!(!end(1, 2, (A, NodeId([7; 32])), Some(6)).is_kin(&proof));
    assert_eq!(end(1, 3, (B, A), None).kinship(), None);
}

fn bytes(random: &mut Random) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|c| c.copy_from_slice(&random.next_u64().to_be_bytes()));
    bytes
}

/// Two digits of a code, so that chance is seen.
fn cut(code: Option<Code>) -> u32 {
    code.unwrap().number() % 100
}

/// Sessions of A and B with M in between, whose keys and nonces are its own choice; how many times both saw the
/// same two digits. `knows` says whether M knows the nonce of B before it is bound to its own, as it cannot.
fn sessions(count: usize, knows: bool) -> usize {
    const TRIES: usize = 200;
    let mut random = Random::new(5);
    let m = NodeId([66; 32]);
    let at = |own, peer, dialed| Ends { own, peer, dialed };
    let session = |_| {
        let (left, right) = (bytes(&mut random), bytes(&mut random));
        let a = StreamPairing::new(left, bytes(&mut random), at(A, m, true), None);
        let b = StreamPairing::new(right, bytes(&mut random), at(B, m, false), None);
        // With A it plays by the rules, and knows before B has said a word what A will show.
        let to_a = StreamPairing::new(left, bytes(&mut random), at(m, A, false), None);
        let shown = cut(a.code(&to_a.commitment(), &to_a.nonce()));
        assert_eq!(cut(to_a.code(&a.commitment(), &a.nonce())), shown);
        // Then it looks for a nonce by which B shows the same: of B it has the commitment, and guesses.
        let guess = if knows { b.nonce() } else { bytes(&mut random) };
        let as_b = StreamPairing::new(right, guess, at(B, m, false), None);
        let mut to_b = StreamPairing::new(right, bytes(&mut random), at(m, B, true), None);
        for _ in 0..if knows { TRIES } else { 4 } {
            if cut(to_b.code(&as_b.commitment(), &as_b.nonce())) == shown {
                break;
            }
            to_b = StreamPairing::new(right, bytes(&mut random), at(m, B, true), None);
        }
        cut(b.code(&to_b.commitment(), &to_b.nonce())) == shown
    };
    (0..count).map(session).filter(|same| *same).count()
}

#[test]
fn somebody_in_between_has_one_guess_a_session() {
    const SESSIONS: usize = 100_000;
    let same = sessions(SESSIONS, false);
    // One in a hundred; four and a half times the deviation that chance has: √(n · 0.01 · 0.99) = 31.5.
    assert!(same.abs_diff(SESSIONS / 100) <= 142, "{same} of {SESSIONS}");
}

#[test]
fn without_commitments_the_code_could_be_ground() {
    // What the test above would see: four of five sessions and more.
    let same = sessions(500, true);
    assert!(same > 400, "{same} of 500");
}
