//! What scheduled playout makes of jitter: spacing as it was played, order kept, nothing left sounding.

use midip2p_proto::bridge::PlayoutMode;
use midip2p_proto::control::bus::PlayoutRules;
use midip2p_proto::control::port::Direction;
use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;
use midip2p_sim::network::{Jitter, Path};
use midip2p_sim::scenario::{expect, listen, note, place, quiet};
use midip2p_sim::seeds;
use midip2p_sim::world::World;

/// ±8 ms around a mean of 9 ms.
fn jittery() -> Path {
    Path { delay: Span::from_ms(1), ..Path::wired() }
        .with_jitter(Jitter::Uniform(Span::from_ms(16)))
}

/// More than the path takes, and what a lost race between repeats and jitter adds.
const FIXED: PlayoutMode = PlayoutMode::Fixed(Span::from_ms(22));

/// A host whose "Synth" plays in that mode, and two that play on it by their mirrors of it.
fn studio(mode: PlayoutMode, seed: u64) -> Result<(World, [usize; 3]), String> {
    let mut w = World::new(jittery(), seed);
    let hosts @ [pc, mac, tab] = ["pc", "mac", "tab"].map(|name| w.host(name));
    w.hosts[pc].node = None;
    w.hosts[pc].rules.playout = PlayoutRules { mode, ..PlayoutRules::default() };
    w.start(pc);
    w.plug(pc, "Synth", Direction::Destination);
    w.find(mac, pc);
    w.find(tab, pc);
    w.run_until(Span::from_s(8), "mirrors", |w| {
        [mac, tab].iter().all(|host| w.hosts[*host].mirror("Synth @ pc").is_some())
    })?;
    Ok((w, hosts))
}

/// Notes of two players, 1 to 100 ms apart, for about a minute and a half.
fn play(w: &mut World, players: [(usize, u8); 2]) -> Result<(), String> {
    let mut held = [None; 2];
    for n in 0..3_600 {
        let which = usize::from(w.random.below(2) == 1);
        let (host, group) = players[which];
        let next = match held[which].take() {
            Some(n) => note(group, n, false),
            None => {
                held[which] = Some(n);
                note(group, n, true)
            }
        };
        w.send(host, "Synth @ pc", next).then_some(()).ok_or("no mirror")?;
        let pause = 1_000 + i64::try_from(w.random.below(99_000)).unwrap_or(0);
        w.run(Span::from_us(pause / 2))?;
    }
    for ((host, group), n) in players.iter().zip(held) {
        if let Some(n) = n {
            w.send(*host, "Synth @ pc", note(*group, n, false));
        }
    }
    quiet(w)
}

/// How far the distance of two successive messages of a source is from what it was, for 99 of 100. The
/// first third is left out: clocks are found, a latency is learnt.
fn spacing_p99(w: &World, pc: usize, group: u8) -> Result<Span, String> {
    let items: Vec<_> = w.checkers.items(&place(pc, "Synth"), group).collect();
    let mut errors = vec![];
    for pair in items[items.len() / 3..].windows(2) {
        let [(_, sent, Some(heard)), (_, next_sent, Some(next_heard))] = pair else {
            return Err("a message is missing".to_owned());
        };
        errors.push((next_heard.since(*heard) - next_sent.since(*sent)).abs());
    }
    errors.sort();
    errors.get(errors.len() * 99 / 100).copied().ok_or_else(|| "nothing was played".to_owned())
}

/// The greatest spacing error (p99) of any seed and source; holds that everything arrived.
fn worst(mode: PlayoutMode) -> Result<Span, String> {
    let mut worst = Span::ZERO;
    seeds::at_most(5, |seed| {
        let (mut w, [pc, mac, tab]) = studio(mode, seed)?;
        play(&mut w, [(mac, 1), (tab, 2)])?;
        for group in [1, 2] {
            w.checkers.all_arrived(&place(pc, "Synth"), group)?;
            worst = worst.max(spacing_p99(&w, pc, group)?);
        }
        Ok(())
    })?;
    println!("{mode:?}: {} µs", worst.as_us());
    Ok(worst)
}

#[test]
fn spacing_survives_jitter_at_a_fixed_latency() -> Result<(), String> {
    expect(worst(FIXED)? <= Span::from_us(200), "within 200 µs")
}

#[test]
fn spacing_survives_jitter_at_the_latency_that_the_network_needs() -> Result<(), String> {
    expect(worst(PlayoutMode::Adaptive)? <= Span::from_us(200), "within 200 µs")
}

#[test]
fn without_a_schedule_jitter_is_heard() -> Result<(), String> {
    expect(worst(PlayoutMode::Immediate)? >= Span::from_ms(5), "or this proves nothing")
}

#[test]
fn a_source_that_dies_is_released_and_the_other_sounds_on() -> Result<(), String> {
    for mode in [FIXED, PlayoutMode::Adaptive] {
        seeds::each(|seed| {
            let (mut w, [pc, mac, tab]) = studio(mode, seed)?;
            let synth = place(pc, "Synth");
            w.checkers.share_group(5);
            for host in [mac, tab] {
                w.send(host, "Synth @ pc", note(5, 1, true));
            }
            w.send(mac, "Synth @ pc", note(5, 2, true));
            w.send(mac, "Synth @ pc", Ump::midi1(5, 0xB3, 64, 127));
            w.run(Span::from_s(1))?;
            expect(w.checkers.sounding(&synth).len() == 3, "two notes and a pedal")?;
            // In the middle of a phrase: some of it waits to be played.
            w.send(mac, "Synth @ pc", note(5, 3, true));
            w.run(Span::from_ms(15))?;
            w.die(mac, seed % 2 == 0);
            w.run(Span::from_s(6))?;
            expect(w.checkers.sounding(&synth).len() == 1, "the other's note, and nothing else")?;
            w.send(tab, "Synth @ pc", note(5, 1, false));
            w.run(Span::from_s(1))?;
            w.checkers.all_silent()
        })?;
    }
    Ok(())
}

#[test]
fn a_mirror_that_goes_leaves_nothing_sounding_behind_it() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, [pc, mac, _]) = studio(FIXED, seed)?;
        w.plug(mac, "Keys", Direction::Source);
        w.run_until(Span::from_s(5), "a mirror", |w| w.hosts[pc].mirror("Keys @ mac").is_some())?;
        listen(&mut w, pc, "Keys @ mac", (mac, "Keys"))?;
        w.send(mac, "Keys", note(6, 1, true));
        w.run(Span::from_ms(100))?;
        expect(w.checkers.sounding(&place(pc, "Keys @ mac")).len() == 1, "it sounds")?;
        w.send(mac, "Keys", note(6, 2, true));
        // It has come, and waits; whoever listens hears nothing of the mirror after the farewell.
        w.run(Span::from_ms(19))?;
        w.stop(mac);
        w.run(Span::from_s(1))?;
        expect(w.hosts[pc].mirror("Keys @ mac").is_none(), "the mirror goes at once")?;
        w.checkers.all_silent()
    })
}
