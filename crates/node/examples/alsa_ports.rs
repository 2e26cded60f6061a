//! A walk around the ALSA sequencer: who comes and goes, what they play, and two mirrors.
//!
//! ```text
//! cargo run --example alsa_ports -- [SECONDS]
//! ```
//!
//! Everything that other programs offer is attached, and what sources play is printed. "Lead @ example"
//! is made as the mirror of a remote source, "Pad @ example" as that of a remote destination; whatever
//! is played to the second comes back out of the first and goes to every destination there is.
//! Try it with `aconnect -l`, `aplaymidi` and `aseqdump`.

#[cfg(all(feature = "alsa", target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    example::run()
}

#[cfg(not(all(feature = "alsa", target_os = "linux")))]
fn main() {
    eprintln!("this build has no ALSA");
}

#[cfg(all(feature = "alsa", target_os = "linux"))]
mod example {
    use std::collections::VecDeque;
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
    use std::time::{Duration, Instant};

    use alsa::poll::{Flags, pollfd};
    use midip2p::os::clock;
    use midip2p::ports::{BackendContext, BackendEvent, Direction, Driver, alsa as backend};
    use midip2p_midi::Ump;
    use midip2p_proto::id::PortId;
    use nix::sys::eventfd::{EfdFlags, EventFd};

    const LEAD: PortId = PortId(1);
    const PAD: PortId = PortId(2);

    pub(crate) fn run() -> anyhow::Result<()> {
        let seconds = std::env::args().nth(1).map_or(Ok(u64::MAX / 2), |s| s.parse())?;
        let end = Instant::now() + Duration::from_secs(seconds.min(86_400));
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK)?);
        let (events, heard) = mpsc::channel();
        let ring = Arc::clone(&bell);
        let context = BackendContext {
            node_name: "example".to_owned(),
            events: Arc::new(move |event| drop(events.send(event))),
            wake: Arc::new(move || _ = ring.write(1)),
        };
        let (mut ports, driver) = backend::open(context)?;
        println!("domain {:?}", ports.domain());
        let (destinations, new_destinations) = mpsc::channel();
        let player = std::thread::spawn(move || play(driver, &bell, &new_destinations, end));
        ports.mirror(LEAD, Direction::Source, "Lead @ example")?;
        ports.mirror(PAD, Direction::Destination, "Pad @ example")?;
        println!("ready");

        let mut next = 3;
        loop {
            match heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    println!("{event:?}");
                    let BackendEvent::Appeared { identity, direction, .. } = event else {
                        continue;
                    };
                    let id = PortId(next);
                    next += 1;
                    match ports.attach(id, &identity, direction) {
                        Ok(()) => println!("attached {id:?} {direction:?} {}", identity.0),
                        Err(error) => println!("not attached: {error}"),
                    }
                    if direction == Direction::Destination {
                        destinations.send(id)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        println!("counters {:?}", ports.counters());
        drop(ports);
        player.join().map_err(|_| anyhow::anyhow!("the player panicked"))
    }

    /// What the real-time thread of a node does, without its priority.
    fn play(
        mut driver: Box<dyn Driver>,
        bell: &EventFd,
        destinations: &Receiver<PortId>,
        end: Instant,
    ) {
        let mut fds: Vec<pollfd> = driver
            .descriptors()
            .into_iter()
            .chain([bell.as_raw_fd()])
            .map(|fd| pollfd { fd, events: Flags::IN.bits(), revents: 0 })
            .collect();
        let mut targets = vec![LEAD];
        let mut waiting: VecDeque<(PortId, Ump)> = VecDeque::new();
        let mut heard: Vec<(PortId, Ump)> = Vec::new();
        while Instant::now() < end {
            let timeout_ms = if waiting.is_empty() { 200 } else { 1 };
            let _ = alsa::poll::poll(&mut fds, timeout_ms);
            let _ = bell.read();
            targets.extend(destinations.try_iter());
            let now = clock::now();
            driver.service(now, &mut |id, _, message| heard.push((id, message)));
            for (id, message) in heard.drain(..) {
                if id == PAD {
                    waiting.extend(targets.iter().map(|to| (*to, message)));
                } else {
                    println!("{} played {message:?}", id.0);
                }
            }
            while let Some((to, message)) = waiting.front() {
                if driver.write(now, *to, *message).is_err() {
                    break;
                }
                waiting.pop_front();
            }
            driver.flush(now);
        }
    }
}
