//! Whatever breaks, in whatever order what is left arrives: ids that fit never stand for different keys, and in the end
//! both ends have the same link.

use super::*;
use crate::random::Random;

/// Something happens: what, is up to chance.
fn disturb(bench: &mut Bench, random: &mut Random) {
    let end = usize::from(random.below(2) == 0);
    match random.below(40) {
        // Something of what is on its way arrives.
        0..22 => {
            let busy = bench.busy();
            if !busy.is_empty() {
                let n = usize::try_from(random.below(busy.len() as u64)).unwrap();
                bench.deliver(busy[n].0, busy[n].1);
            }
        }
        22..27 => {
            bench.now += Span::from_ms(random.below(400).cast_signed());
            bench.time();
        }
        27..31 => bench.datagrams(),
        // An end loses one of its streams; the other does not notice.
        31..33 => {
            if let Some(conn) = bench.open[end].first().copied() {
                bench.drop_way(conn, 1 - end);
                bench.lose(conn, end);
            }
        }
        33..35 => bench.cut(&[0, 1]),
        35 => drop(bench.connect(end)),
        36 => bench.udp = random.below(3) > 0,
        37 => {
            let node = NODES[1 - end];
            bench.tell(end, Input::Trust(1, TrustCommand::Remove(node)));
            let add = TrustCommand::Add { node, code: None, rights: Rights::ALL };
            bench.tell(end, Input::Trust(1, add));
        }
        38 if random.below(4) == 0 => {
            // It starts anew; its streams end now or much later.
            bench.boots += 1;
            let anew = control(end, bench.boots, TrustPolicy::Paired);
            for conn in std::mem::take(&mut bench.open[end]) {
                bench.drop_way(conn, end);
                if random.below(2) == 0 {
                    bench.put(conn, 1 - end, Item::End);
                }
            }
            bench.ends[end] = anew;
            (bench.planes[end], bench.lanes[end]) = (None, None);
        }
        _ => {
            // A long time in which nothing arrives.
            bench.now += Span::from_s(1);
            bench.time();
        }
    }
}

#[test]
fn both_ends_are_on_the_same_keys_or_on_none() {
    let (mut resumed, mut anew) = (0, 0);
    for seed in 0..1_500 {
        let (mut bench, mut random) = (Bench::new(seed), Random::new(seed));
        for round in 0..4 {
            for _ in 0..random.below(160) {
                disturb(&mut bench, &mut random);
            }
            bench.udp = true;
            // Who was sent away may wait a minute until it dials; who is trusted again, too.
            let calm = bench.now + Span::from_s(75);
            while !bench.is_whole() && bench.now < calm {
                bench.pass(PULSE);
            }
            assert!(bench.is_whole(), "seed {seed}, {round}: {:?} {:?}", bench.planes, bench.lanes);
            bench.pass(Span::from_s(1));
            assert!(bench.is_whole(), "seed {seed}, {round}: it does not last");
        }
        let notes = bench.notes.iter().flatten();
        resumed += notes.clone().filter(|n| matches!(n, Note::StreamBack(..))).count();
        anew += notes.filter(|n| matches!(n, Note::Up(..))).count();
    }
    assert!(resumed > 1_000 && anew > 1_000, "{resumed} went on, {anew} began anew");
}
