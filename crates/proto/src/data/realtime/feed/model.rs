//! The repair beside a producer that plays on, in every interleaving.

use loom::thread;

use super::*;

fn note(on: bool) -> Ump {
    Ump::midi1(0, if on { 0x90 } else { 0x80 }, 60, 64)
}

/// A note is struck, let go and struck again, through a ring of one event: whatever is dropped, the
/// note is never struck while it sounds, and in the end it sounds.
#[test]
fn a_note_is_never_struck_twice_and_never_lost() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let (mut feed, mut intake) = feed::<1, 1>();
        let playing = thread::spawn(move || {
            for on in [true, false, true] {
                feed.push(LocalTime::ZERO, note(on));
            }
        });
        let (mut sounds, mut strikes) = (false, 0);
        let mut take = |taken| {
            let message = match taken {
                Taken::Event(event) => event.message,
                Taken::Repair(message) => message,
                Taken::Dropped(_) => return,
            };
            let on = message == note(true);
            assert!(on != sounds || !on, "struck twice");
            sounds = on;
            strikes += u8::from(on);
            assert!(strikes <= 2, "struck more often than it was played");
        };
        for _ in 0..3 {
            if let Some(taken) = intake.pop() {
                take(taken);
            }
        }
        playing.join().unwrap();
        while let Some(taken) = intake.pop() {
            take(taken);
        }
        assert!(sounds);
    });
}
