//! What is refused is asked for again, and what is not wanted any more is not.

use std::sync::mpsc::{Receiver, Sender, channel};

use midip2p_proto::time::Span;

use super::*;
use crate::ports::Domain;

/// A backend that refuses so many calls; what it was called for is noted.
struct Busy {
    refuses: usize,
    calls: Sender<String>,
}

impl Busy {
    fn call(&mut self, call: String) -> Result<(), PortError> {
        self.calls.send(call).unwrap();
        let Some(left) = self.refuses.checked_sub(1) else { return Ok(()) };
        self.refuses = left;
        Err(PortError::System { what: "connecting", reason: "not active".to_owned() })
    }
}

impl Backend for Busy {
    fn kind(&self) -> &'static str {
        "busy"
    }

    fn domain(&self) -> Option<Domain> {
        None
    }

    fn attach(
        &mut self,
        id: PortId,
        identity: &PortIdentity,
        _: Direction,
    ) -> Result<(), PortError> {
        if id == PortId(9) {
            let _ = self.call("attach 9".to_owned());
            return Err(PortError::NoSuchPort(identity.clone()));
        }
        self.call(format!("attach {}", id.0))
    }

    fn detach(&mut self, id: PortId) {
        self.calls.send(format!("detach {}", id.0)).unwrap();
    }

    fn mirror(&mut self, id: PortId, _: Direction, _: &str) -> Result<(), PortError> {
        self.call(format!("mirror {}", id.0))
    }

    fn unmirror(&mut self, id: PortId) {
        self.calls.send(format!("unmirror {}", id.0)).unwrap();
    }
}

/// The stage on false time.
struct Stage {
    backends: Vec<Box<dyn Backend>>,
    retries: Retries,
    now: LocalTime,
    calls: Receiver<String>,
}

impl Stage {
    fn new(refuses: usize) -> Self {
        let (called, calls) = channel();
        let busy = Busy { refuses, calls: called };
        let retries = Retries::default();
        Self { backends: vec![Box::new(busy)], retries, now: LocalTime::ZERO, calls }
    }

    fn tell(&mut self, command: PortsCommand) {
        self.retries.forget(&command);
        let _ = carry_out(&mut self.backends, &mut self.retries, self.now, command);
    }

    /// Lets time pass; the milliseconds at which something was tried again.
    fn run(&mut self, until: Span) -> Vec<i64> {
        let mut tried = Vec::new();
        while self.retries.wake_at() <= LocalTime::ZERO + until {
            self.now = self.now.max(self.retries.wake_at());
            tried.push(self.now.as_us() / 1_000);
            let command = self.retries.due(self.now).unwrap();
            let _ = carry_out(&mut self.backends, &mut self.retries, self.now, command);
        }
        tried
    }

    fn calls(&self) -> Vec<String> {
        self.calls.try_iter().collect()
    }
}

fn attach(id: u16) -> PortsCommand {
    let identity = PortIdentity("busy:Synth".to_owned());
    PortsCommand::Attach(BackendNo(0), PortId(id), identity, Direction::Destination)
}

#[test]
fn what_is_refused_is_tried_again_more_and_more_rarely_until_it_is_there() {
    let mut stage = Stage::new(9);
    stage.tell(attach(1));
    let tried = stage.run(Span::from_s(60));
    assert_eq!(tried, [100, 300, 700, 1_500, 3_100, 6_300, 11_300, 16_300, 21_300]);
    assert_eq!(stage.calls(), ["attach 1"; 10]);
    assert_eq!(stage.retries.wake_at(), LocalTime::MAX, "it is there");
}

#[test]
fn what_is_not_wanted_any_more_or_is_gone_is_not_tried_again() {
    let mut stage = Stage::new(usize::MAX);
    let mirror = |id| {
        PortsCommand::Mirror(BackendNo(0), PortId(id), Direction::Source, "Keys @ b".to_owned())
    };
    (1..4).for_each(|id| stage.tell(attach(id)));
    stage.tell(mirror(1));
    stage.tell(attach(9));
    stage.tell(PortsCommand::Detach(BackendNo(0), PortId(1)));
    stage.tell(PortsCommand::Detach(BackendNo(0), PortId(3)));
    stage.calls();
    // Said once more, it begins anew.
    stage.now += Span::from_ms(50);
    stage.tell(attach(2));
    assert_eq!(stage.run(Span::from_ms(200)), [100, 150]);
    assert_eq!(stage.calls(), ["attach 2", "mirror 1", "attach 2"]);
    stage.tell(PortsCommand::Unmirror(BackendNo(0), PortId(1)));
    stage.tell(PortsCommand::Detach(BackendNo(0), PortId(2)));
    assert_eq!(stage.retries.wake_at(), LocalTime::MAX);
}
