//! Notes under loss, jitter and partitions.

use midip2p_proto::control::port::Direction;
use midip2p_proto::midi::Ump;
use midip2p_proto::time::Span;
use midip2p_sim::network::Path;
use midip2p_sim::scenario::{calm_pair, dump, expect, listen, note, pair, place, play, quiet};
use midip2p_sim::seeds;

#[test]
fn every_note_arrives_in_order_whatever_is_lost() -> Result<(), String> {
    // A burst of Wi-Fi may be longer than a note may be late; half of all lost fourteen times may be, too.
    let (never, sometimes) = (0, 10);
    for (path, most) in [
        (Path::wired(), never),
        (Path::wifi(), sometimes),
        (Path::losing(5), never),
        (Path::losing(20), never),
        (Path::losing(50), sometimes),
    ] {
        seeds::each(|seed| {
            let (mut w, mac, pc) = calm_pair(path, seed)?;
            play(&mut w, (mac, "Keys", 1), 0..100, Span::from_ms(8))?;
            quiet(&mut w)?;
            w.checkers.arrived_but_for(most, &place(pc, "Keys @ mac"), 1)
        })?;
    }
    Ok(())
}

#[test]
fn a_mirror_of_a_destination_plays_at_the_far_end() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi_lossy(), seed)?;
        play(&mut w, (mac, "Synth @ pc", 3), 0..100, Span::from_ms(8))?;
        quiet(&mut w)?;
        w.checkers.arrived_but_for(10, &place(pc, "Synth"), 3)
    })
}

#[test]
fn gm_on_bank_program_and_note_come_in_the_order_of_the_source() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::losing(5), seed)?;
        let gm_on = [0x7E, 0x7F, 0x09, 0x01];
        for round in 0..10u8 {
            w.sysex(mac, "Synth @ pc", 1, &[&gm_on[..], &[round]].concat());
            for message in [(0xB0, 0, round), (0xB0, 32, round), (0xC0, round, 0)] {
                w.send(mac, "Synth @ pc", Ump::midi1(1, message.0, message.1, message.2));
            }
            w.send(mac, "Synth @ pc", note(1, u32::from(round), true));
            w.send(mac, "Synth @ pc", note(1, u32::from(round), false));
            let pause = i64::try_from(w.random.below(30)).unwrap_or(0);
            w.run(Span::from_ms(pause))?;
        }
        quiet(&mut w)?;
        w.checkers.all_arrived(&place(pc, "Synth"), 1)
    })
}

#[test]
fn a_partition_releases_what_was_held_and_the_link_comes_back() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        let far = place(pc, "Keys @ mac");
        w.send(mac, "Keys", note(1, 1, true));
        w.send(mac, "Keys", Ump::midi1(1, 0xB1, 64, 127));
        w.run(Span::from_ms(300))?;
        expect(w.checkers.sounding(&far).len() == 2, "note and pedal are held")?;
        w.part(mac, pc);
        w.run(Span::from_s(10))?;
        w.checkers.all_silent()?;
        expect(!w.linked(mac, pc), "the heartbeat fails")?;
        let id = w.hosts[pc].mirror("Keys @ mac");
        w.join(mac, pc);
        w.run_until(Span::from_s(12), "the link comes back", |w| w.linked(mac, pc))?;
        w.run_until(Span::from_s(3), "the mirror comes back", |w| {
            w.hosts[pc].mirror("Keys @ mac").is_some()
        })?;
        expect(id.is_none() || id == w.hosts[pc].mirror("Keys @ mac"), "the same mirror")?;
        w.run_until(Span::from_s(5), "the subscription", |w| {
            w.hosts[mac].source("Keys").is_some()
        })?;
        w.send(mac, "Keys", Ump::midi1(1, 0xB1, 64, 1));
        w.send(mac, "Keys", note(1, 1, false));
        play(&mut w, (mac, "Keys", 1), 100..150, Span::from_ms(8))?;
        quiet(&mut w)
    })
}

#[test]
fn short_outages_lose_no_note_off() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        for n in 0..6u32 {
            play(&mut w, (mac, "Keys", 1), 50 * n..50 * n + 20, Span::from_ms(8))?;
            w.send(mac, "Keys", note(1, 50 * n + 30, true));
            w.run(Span::from_ms(40))?;
            w.part(mac, pc);
            let out = i64::try_from(w.random.below(2_200)).unwrap_or(0);
            w.run(Span::from_ms(out / 2))?;
            w.send(mac, "Keys", note(1, 50 * n + 30, false));
            w.run(Span::from_ms(out / 2))?;
            w.join(mac, pc);
            w.run(Span::from_ms(900))?;
        }
        expect(w.linked(mac, pc), "the link outlives two seconds")?;
        quiet(&mut w)
    })
}

#[test]
fn a_peer_that_dies_leaves_nothing_sounding() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        for n in 0..5 {
            w.send(mac, "Keys", note(1, n, true));
            w.send(mac, "Synth @ pc", note(2, n, true));
        }
        w.send(mac, "Keys", Ump::midi1(1, 0xB0, 64, 127));
        w.send(mac, "Synth @ pc", Ump::midi1(2, 0xE0, 3, 4));
        w.run(Span::from_ms(200))?;
        expect(w.checkers.all_silent().is_err(), "something sounds")?;
        w.die(mac, seed % 2 == 0);
        w.run(Span::from_s(5))?;
        w.checkers.all_silent()?;
        w.start(mac);
        w.find(mac, pc);
        w.run_until(Span::from_s(10), "a link to its next self", |w| w.linked(mac, pc))?;
        listen(&mut w, pc, "Keys @ mac", (mac, "Keys")).ok();
        w.run(Span::from_s(1))?;
        play(&mut w, (mac, "Keys", 1), 100..120, Span::from_ms(8))?;
        quiet(&mut w)
    })
}

#[test]
fn unplugging_a_source_releases_what_it_held_at_the_far_end() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi_lossy(), seed)?;
        w.send(mac, "Keys", note(1, 1, true));
        w.run(Span::from_ms(300))?;
        expect(!w.checkers.sounding(&place(pc, "Keys @ mac")).is_empty(), "it sounds")?;
        let before = w.hosts[pc].mirror("Keys @ mac");
        w.unplug(mac, "Keys");
        w.run(Span::from_s(2))?;
        w.checkers.all_silent()?;
        expect(w.hosts[pc].mirror("Keys @ mac").is_none(), "the mirror goes with the port")?;
        w.plug(mac, "Keys", Direction::Source);
        w.run_until(Span::from_s(5), "the mirror", |w| w.hosts[pc].mirror("Keys @ mac") == before)?;
        // It is still listened to: whoever was connected to it is still.
        w.run_until(Span::from_s(5), "the route", |w| w.hosts[mac].source("Keys").is_some())?;
        play(&mut w, (mac, "Keys", 1), 10..30, Span::from_ms(8))?;
        quiet(&mut w)?;
        let (heard, sent) = w.checkers.share(&place(pc, "Keys @ mac"), 1);
        expect(heard == sent, "everything arrives again")
    })
}

#[test]
fn an_app_port_that_closes_releases_what_it_held_far_away() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi_lossy(), seed)?;
        use midip2p_proto::control::bus::Wish;
        w.open_app(mac, "play", Direction::Source, vec![Wish::All]);
        w.run_until(Span::from_s(3), "ready", |w| w.hosts[mac].ready.contains("play"))?;
        w.send(mac, "play", note(4, 1, true));
        w.send(mac, "play", Ump::midi1(4, 0xB0, 64, 100));
        w.run(Span::from_ms(400))?;
        expect(!w.checkers.sounding(&place(pc, "Synth")).is_empty(), "it sounds")?;
        w.close_app(mac, "play");
        w.run(Span::from_s(2))?;
        w.checkers.all_silent()
    })
}

#[test]
fn panic_is_silence_everywhere() -> Result<(), String> {
    seeds::each(|seed| {
        let (mut w, mac, pc) = pair(Path::wifi(), seed)?;
        w.send(mac, "Keys", note(1, 1, true));
        w.send(mac, "Synth @ pc", note(2, 1, true));
        w.sysex(mac, "Keys", 1, &dump(seed, 100));
        w.run(Span::from_ms(300))?;
        let input = midip2p_proto::control::Input::Panic;
        w.checkers.panicked = true;
        w.tell(
            if seed % 2 == 0 { mac } else { pc },
            midip2p_proto::node::NodeInput::Control(input),
        );
        // It goes by the stream, which repeats a segment that is lost after 200 ms, 400 ms, …
        w.run_until(Span::from_s(2), "silence", |w| w.checkers.all_silent().is_ok())?;
        w.run(Span::from_ms(100))?;
        w.checkers.all_silent()?;
        w.send(mac, "Keys", note(1, 1, false));
        w.send(mac, "Synth @ pc", note(2, 1, false));
        play(&mut w, (mac, "Keys", 1), 2..20, Span::from_ms(4))?;
        quiet(&mut w)
    })
}
