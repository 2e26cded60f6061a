//! What the thread sanitizer must find and what it must not, so that its silence over midip2p says
//! something. A value is handed to another thread by a flag:
//!
//! - `relaxed`: the flag orders nothing, so both threads touch the value at once. Must be reported.
//! - `release`: the flag orders it. Must not be reported.
//! - `channel`: a channel of the standard library orders it. Must not be reported, and is where std
//!   itself is not instrumented.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

const VALUE: u64 = 34;

struct Shared {
    value: UnsafeCell<u64>,
    ready: AtomicBool,
}

// SAFETY: it is not sound, on purpose: `relaxed` is the mistake that the sanitizer has to name. The
// value is a word, written once and read once, so no more than a report comes of it.
unsafe impl Sync for Shared {}

static SHARED: Shared = Shared { value: UnsafeCell::new(0), ready: AtomicBool::new(false) };

fn main() -> ExitCode {
    let got = match std::env::args().nth(1).as_deref() {
        Some("relaxed") => by_flag(Ordering::Relaxed, Ordering::Relaxed),
        Some("release") => by_flag(Ordering::Release, Ordering::Acquire),
        Some("channel") => by_channel(),
        _ => {
            eprintln!("say what to hand a value over by: relaxed, release or channel");
            return ExitCode::from(2);
        }
    };
    println!("{got}");
    ExitCode::SUCCESS
}

fn by_flag(write: Ordering, read: Ordering) -> u64 {
    let writer = thread::spawn(move || {
        write_value();
        SHARED.ready.store(true, write);
    });
    while !SHARED.ready.load(read) {
        spin_loop();
    }
    let got = read_value();
    let _ = writer.join();
    got
}

fn by_channel() -> u64 {
    let (sender, receiver) = mpsc::channel();
    let writer = thread::spawn(move || {
        write_value();
        let _ = sender.send(());
    });
    let _ = receiver.recv();
    let got = read_value();
    let _ = writer.join();
    got
}

#[inline(never)]
fn write_value() {
    // SAFETY: the only write; whether the read comes after it in order is what is tried.
    unsafe { *SHARED.value.get() = VALUE }
}

#[inline(never)]
fn read_value() -> u64 {
    // SAFETY: as in `write_value`.
    unsafe { *SHARED.value.get() }
}
