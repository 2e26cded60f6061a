//! Every kind of music over every kind of bad network: all checkers hold, and at rest the far device is
//! what the source's is. How late it came is the matter of `table.rs`.

use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;
use midip2p_sim::measure;
use midip2p_sim::network::{Jitter, Path};
use midip2p_sim::scenario::{calm_pair, expect, place, quiet};
use midip2p_sim::seeds;
use midip2p_sim::traffic::Traffic;
use midip2p_sim::world::World;

/// Plays a second and a half of each kind of music over a path, two seeds each where nothing is said.
fn all_kinds(path: Path) -> Result<(), String> {
    for traffic in Traffic::ALL {
        seeds::usually(2, |seed| {
            measure::run(traffic, path, Span::from_ms(1_500), seed)
                .map(|_| ())
                .map_err(|what| format!("{} over {path:?}: {what}", traffic.name()))
        })?;
    }
    Ok(())
}

#[test]
fn whatever_is_lost_alone() -> Result<(), String> {
    for loss in [0, 5, 20, 50, 66] {
        for jitter in [0, 8] {
            all_kinds(Path::losing(loss).with_jitter(Jitter::Uniform(Span::from_ms(jitter))))?;
        }
    }
    Ok(())
}

#[test]
fn whatever_is_lost_in_bursts() -> Result<(), String> {
    for loss in [0, 20] {
        for jitter in [0, 8] {
            let path = Path::losing(loss).with_jitter(Jitter::Uniform(Span::from_ms(jitter)));
            all_kinds(path.with_bursts(Span::from_ms(20), 50_000))?;
        }
    }
    Ok(())
}

#[test]
fn over_every_path_that_has_a_name() -> Result<(), String> {
    Path::PRESETS.into_iter().try_for_each(|(_, path)| all_kinds(path))
}

#[test]
fn whatever_is_doubled_overtaken_and_damaged() -> Result<(), String> {
    let wild = Path {
        twice_ppm: 300_000,
        damage_ppm: 50_000,
        held_up: (200_000, Span::from_ms(12)),
        ..Path::losing(10)
    };
    all_kinds(wild)
}

/// All notes off (CC 123) that comes after a note it was sent before is not played any more: what it should
/// have ended is found by comparing, which a clock that never pauses must not prevent.
#[test]
fn what_differs_is_mended_while_a_clock_runs() -> Result<(), String> {
    const CLOCK: Ump = Ump::midi1(1, 0xF8, 0, 0);
    seeds::each(|seed| {
        let path = Path { held_up: (700_000, Span::from_ms(80)), ..Path::losing(0) };
        let (mut w, mac, pc) = calm_pair(path, seed)?;
        let clock_for = |w: &mut World, ms: i64| {
            (0..ms / 20).try_for_each(|_| {
                w.send(mac, "Keys", CLOCK);
                w.run(Span::from_ms(20))
            })
        };
        let far = place(pc, "Keys @ mac");
        for channel in 0..16 {
            w.send(mac, "Keys", Ump::midi1(1, 0x90 | channel, 40 + channel, 100));
        }
        clock_for(&mut w, 300)?;
        for channel in 0..16 {
            w.send(mac, "Keys", Ump::midi1(1, 0xB0 | channel, 123, 0));
            w.send(mac, "Keys", Ump::midi1(1, 0x90 | channel, 70 + channel, 90));
        }
        clock_for(&mut w, 100)?;
        for channel in 0..16 {
            w.send(mac, "Keys", Ump::midi1(1, 0x80 | channel, 70 + channel, 50));
        }
        clock_for(&mut w, 3_000)?;
        let left = w.checkers.sounding(&far);
        expect(left.is_empty(), &format!("the clock runs and {left:?} sound"))?;
        quiet(&mut w)
    })
}
