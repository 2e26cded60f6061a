//! The user-space Ethernet switch: one TAP per node, one place to wait, one heap of what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::frame::{Carries, Port, carries, shift_port};
use crate::impair::{Config, Link, Verdict};
use crate::node_name;
use crate::sys::{self, Waiter, now_ns};

const FRAME: usize = 65_536;
/// Frames taken from one node before the others get their turn.
const BATCH: usize = 64;
/// The tag of the control socket; a TAP's tag is its node's number.
const CONTROL: u64 = 1000;

/// Interfaces have at most 15 letters: a lab's name has 8.
pub fn tap_name(lab: &str, i: usize) -> String {
    format!("{lab}{}", node_name(i))
}

/// Keeps the random sequences of the pairs and directions apart under one seed.
pub fn salt(from: usize, to: usize) -> u64 {
    (from * 1000 + to + 1) as u64
}

/// Runs the switch until it is asked to stop.
pub fn run(lab: &str, dir: &str, n: usize, rt: bool) -> std::io::Result<()> {
    let mut switch = Switch::new(lab, n)?;
    let control = UnixListener::bind(format!("{dir}/ctl"))?;
    if let Some(e) = rt.then(sys::go_realtime).and_then(Result::err) {
        eprintln!("real-time priority: {e}");
    }
    let waiter = Waiter::new()?;
    waiter.watch(control.as_raw_fd(), CONTROL)?;
    for (tag, tap) in (0..).zip(&switch.taps) {
        waiter.watch(tap.as_raw_fd(), tag)?;
    }
    let (mut ready, mut frame) = (Vec::new(), vec![0; FRAME]);
    while !switch.stopped {
        waiter.wait(&mut ready);
        for tag in &ready {
            match tag {
                &CONTROL => control.accept().map_or((), |(stream, _)| switch.answer(stream)),
                tap => switch.read(*tap as usize, &mut frame),
            }
        }
        if let Some(next_ns) = switch.deliver_due() {
            waiter.wake_at(next_ns)?;
        }
    }
    switch.trace.map_or(Ok(()), |mut trace| trace.flush())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: u64,
    seq: u64,
    from: usize,
    to: usize,
    frame: std::rc::Rc<Vec<u8>>,
}

pub struct Switch {
    pub taps: Vec<File>,
    /// By the sending node, then the receiving one.
    pub links: Vec<Vec<Link>>,
    /// Whether each node's cable is in. The kernel keeps a node without carrier from sending, and would
    /// still let it receive.
    pub plugged: Vec<bool>,
    /// What is added to the UDP ports of each node, as others see them: its NAT.
    pub shifts: Vec<u16>,
    pub trace: Option<BufWriter<File>>,
    pub stopped: bool,
    heap: BinaryHeap<Reverse<Due>>,
    seq: u64,
}

impl Switch {
    fn new(lab: &str, n: usize) -> std::io::Result<Self> {
        let taps = (0..n).map(|i| sys::open_tap(&tap_name(lab, i))).collect::<Result<_, _>>()?;
        let link = |i, j| Link::new(Config::default(), salt(i, j));
        let links = (0..n).map(|i| (0..n).map(|j| link(i, j)).collect()).collect();
        let (plugged, shifts, heap) = (vec![true; n], vec![0; n], BinaryHeap::new());
        Ok(Self { taps, links, plugged, shifts, trace: None, stopped: false, heap, seq: 0 })
    }

    fn read(&mut self, from: usize, frame: &mut [u8]) {
        for _ in 0..BATCH {
            match self.taps[from].read(frame) {
                Ok(length) if length > 0 => self.accept(from, &mut frame[..length], now_ns()),
                _ => break,
            }
        }
    }

    /// Delivers what is due; says when the next will be.
    fn deliver_due(&mut self) -> Option<u64> {
        loop {
            let next = self.heap.peek()?.0.at;
            if next > now_ns() {
                return Some(next);
            }
            let Reverse(due) = self.heap.pop()?;
            self.deliver(due);
        }
    }

    fn deliver(&mut self, due: Due) {
        // A write fails when the interface is down: the frame is gone, as on a pulled cable.
        if self.plugged[due.to] && self.taps[due.to].write(&due.frame).is_ok() {
            let late = now_ns().saturating_sub(due.at);
            let s = &mut self.links[due.from][due.to].stats;
            s.out += 1;
            s.late_sum_ns += late;
            s.late_max_ns = s.late_max_ns.max(late);
        }
    }

    fn accept(&mut self, from: usize, frame: &mut [u8], t: u64) {
        if frame.len() < 14 {
            return;
        }
        // Node i is 02:77:00:00:00:(i+1); anything else (broadcast, multicast, a guest VM) floods.
        let m = &frame[..6];
        let only = (m[..5] == [2, 0x77, 0, 0, 0]
            && (1..=self.taps.len()).contains(&(m[5] as usize)))
        .then(|| m[5] as usize - 1);
        // Housekeeping passes unimpaired (but not over a downed link), and takes nothing from the
        // seeded sequence.
        let carries = carries(frame);
        let control = carries == Carries::Control;
        if self.shifts[from] != 0 {
            shift_port(frame, Port::Source, self.shifts[from]);
        }
        if let Some(to) = only.filter(|to| self.shifts[*to] != 0) {
            shift_port(frame, Port::Destination, 0_u16.wrapping_sub(self.shifts[to]));
        }
        let frame = std::rc::Rc::new(frame.to_vec());
        for to in 0..self.taps.len() {
            if to == from || only.is_some_and(|o| o != to) {
                continue;
            }
            let link = &mut self.links[from][to];
            let verdict = if control {
                if link.cfg.down {
                    continue;
                } else {
                    Verdict::Send(t, None)
                }
            } else {
                link.judge(t, frame.len(), carries)
            };
            if let (Some(w), false) = (&mut self.trace, control) {
                let (what, at) = match &verdict {
                    Verdict::Drop(why) => (*why, 0),
                    Verdict::Send(a, None) => ("send", a - t),
                    Verdict::Send(a, Some(_)) => ("dup", a - t),
                };
                let _ = writeln!(
                    w,
                    "{t},{},{},{},{what},{at}",
                    node_name(from),
                    node_name(to),
                    frame.len()
                );
            }
            if let Verdict::Send(a, b) = verdict {
                for at in [Some(a), b].into_iter().flatten() {
                    self.seq += 1;
                    let d = Due { at, seq: self.seq, from, to, frame: frame.clone() };
                    self.heap.push(Reverse(d));
                }
            }
        }
    }

    fn answer(&mut self, mut stream: UnixStream) {
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_millis(200)));
        let mut line = String::new();
        let read = stream.try_clone().and_then(|s| BufReader::new(s).read_line(&mut line));
        if read.is_ok() {
            let answer = self.request(&line).unwrap_or_else(|e| format!("error: {e}\n"));
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}
