//! The JACK backend against a real server.
//!
//! JACK takes its server from the environment, which a process may not change for itself here, so the
//! test calls its own program again with the name of a server that it then starts, stops and starts
//! anew: the dummy driver needs no sound hardware.
#![cfg(all(feature = "jack", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use jack::{Client, ClientOptions, Control, MidiIn, MidiOut, Port, ProcessScope, RawMidi};
use midip2p::os::clock;
use midip2p::ports::{
    Backend, BackendContext, BackendEvent, Direction, Driver, PortError, PortIdentity,
    jack as backend,
};
use midip2p_midi::bytes::Writer;
use midip2p_midi::{Ump, sysex7};
use midip2p_proto::id::PortId;
use midip2p_proto::time::{LocalTime, Span};

/// Names the server, and says that this is the inner call.
const SERVER: &str = "JACK_DEFAULT_SERVER";
const INNER: &str = "MIDIP2P_TEST_JACK_INNER";
/// For whatever should happen within some periods.
const SOON: Duration = Duration::from_secs(10);
/// Samples a period, and a second.
const PERIOD: &str = "128";
const RATE: &str = "48000";

#[test]
fn a_real_server() {
    if std::env::var(INNER).is_ok() {
        return inner();
    }
    if Command::new("jackd").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no jackd");
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_real_server", "--nocapture"])
        .env(INNER, "1")
        .env(SERVER, format!("midip2p-test-{}", std::process::id()))
        .status()
        .unwrap();
    assert!(status.success());
}

fn inner() {
    let mut rig = Rig::open();
    // There is no server yet: that is said, and the backend waits for it.
    rig.until(|e| matches!(e, BackendEvent::Lost { .. }));
    let server = Server::start();
    rig.until(|e| *e == BackendEvent::Back);
    ports_appear_and_vanish(&mut rig);
    marked_clients_are_invisible(&mut rig);
    messages_arrive_in_order(&mut rig);
    mirrors_are_ports_of_ours(&mut rig);
    the_rhythm_is_kept(&mut rig);
    last_notes_end(&mut rig);
    let mut rig = last_notes_end_when_the_node_does(rig);
    the_server_comes_back(&mut rig, server);
}

fn ports_appear_and_vanish(rig: &mut Rig) {
    let (keys, _) = rig.plug("Keys", "out", Direction::Source);
    assert_eq!(keys.identity.0, "jack:Keys/out");
    rig.backend.attach(PortId(9), &keys.identity, Direction::Source).unwrap();
    let missing = PortIdentity("jack:Nobody/out".to_owned());
    assert_eq!(
        rig.backend.attach(PortId(8), &missing, Direction::Source),
        Err(PortError::NoSuchPort(missing))
    );
    let identity = keys.identity.clone();
    drop(keys);
    rig.until(|e| {
        *e == BackendEvent::Vanished { identity: identity.clone(), direction: Direction::Source }
    });
    // It comes back as the same one, and is connected again without being asked.
    let (mut keys, _) = rig.plug("Keys", "out", Direction::Source);
    assert_eq!(keys.identity, identity);
    let note = Ump::midi1(0, 0x90, 60, 100);
    rig.wait(|_| keys.connections() == 1);
    keys.play(&[vec![0x90, 60, 100]]);
    assert_eq!(rig.hear(1), [(PortId(9), note)]);
    rig.backend.detach(PortId(9));
    rig.wait(|_| keys.connections() == 0);
}

fn marked_clients_are_invisible(rig: &mut Rig) {
    let (other, _) =
        Client::new("midip2p-other", ClientOptions::NO_START_SERVER).expect("the server runs");
    let _out = other.register_port("Lead @ elsewhere", MidiOut::default()).unwrap();
    let _in = other.register_port("Pad @ elsewhere", MidiIn::default()).unwrap();
    // Whatever is told of after these has been told of after looking at them.
    let (_last, seen) = rig.plug("Last", "out", Direction::Source);
    assert!(
        !seen.iter().any(|e| matches!(e, BackendEvent::Appeared { name, .. }
            if name.contains("elsewhere"))),
        "{seen:?}"
    );
}

/// A thousand short messages with a SysEx of 40,000 bytes among them.
fn traffic() -> (Vec<Vec<u8>>, Vec<Ump>) {
    let mut bytes = Vec::new();
    let mut packets = Vec::new();
    for i in 0..1_000_u32 {
        let [a, b] = [(i % 128) as u8, (i / 8 % 128) as u8];
        let status = [0x90, 0x80, 0xB3, 0xE5, 0xA1][i as usize % 5];
        bytes.push(vec![status, a, b]);
        packets.push(Ump::midi1(0, status, a, b));
        if i == 500 {
            let data: Vec<u8> = (0..39_998_u32).map(|n| (n * 7 % 128) as u8).collect();
            packets.extend(sysex7::packets(0, &data));
            bytes.push([&[0xF0], &data[..], &[0xF7]].concat());
        }
    }
    (bytes, packets)
}

fn messages_arrive_in_order(rig: &mut Rig) {
    let (bytes, packets) = traffic();
    let (mut keys, _) = rig.plug("Keys 2", "out", Direction::Source);
    rig.backend.attach(PortId(3), &keys.identity, Direction::Source).unwrap();
    keys.play(&bytes);
    let heard = rig.hear(packets.len());
    assert!(heard.iter().all(|(id, _)| *id == PortId(3)));
    let heard: Vec<Ump> = heard.into_iter().map(|(_, message)| message).collect();
    let differs = heard.iter().zip(&packets).position(|(h, p)| h != p);
    assert_eq!((heard.len(), differs), (packets.len(), None), "heard is not what was played");

    let (mut synth, _) = rig.plug("Synth", "in", Direction::Destination);
    rig.backend.attach(PortId(4), &synth.identity, Direction::Destination).unwrap();
    rig.write_all(PortId(4), &packets);
    let wanted = bytes.concat();
    let got = synth.bytes(wanted.len());
    assert_eq!(got.len(), wanted.len());
    assert!(got == wanted, "what was written is not what arrived");
    assert_eq!(rig.backend.counters(), Default::default());
    rig.backend.detach(PortId(3));
    rig.backend.detach(PortId(4));
}

fn mirrors_are_ports_of_ours(rig: &mut Rig) {
    rig.backend.mirror(PortId(5), Direction::Source, "Keys @ studio-mac").unwrap();
    rig.backend.mirror(PortId(6), Direction::Destination, "Keys @ studio-mac").unwrap();
    let (mut reader, _) = rig.plug("Reader", "in", Direction::Destination);
    reader.connect("midip2p:Keys @ studio-mac", "Reader:in");
    rig.until(|e| *e == BackendEvent::Listened { id: PortId(5), listened: true });
    rig.write_all(PortId(5), &[Ump::midi1(0, 0xC2, 7, 0)]);
    assert_eq!(reader.bytes(2), [0xC2, 7]);

    let (mut writer, _) = rig.plug("Writer", "out", Direction::Source);
    writer.connect("Writer:out", "midip2p:Keys @ studio-mac (in)");
    rig.until(|e| *e == BackendEvent::Listened { id: PortId(6), listened: true });
    writer.play(&[vec![0xF8], vec![0xD1, 9]]);
    let wanted = [Ump::system(0, 0xF8, 0, 0), Ump::midi1(0, 0xD1, 9, 0)];
    assert_eq!(rig.hear(2), wanted.map(|m| (PortId(6), m)));

    drop(reader);
    rig.until(|e| *e == BackendEvent::Listened { id: PortId(5), listened: false });
    rig.backend.unmirror(PortId(6));
    rig.wait(|_| writer.connections() == 0);
    // The name is free again once the port is gone.
    rig.wait(|rig| {
        rig.backend.mirror(PortId(6), Direction::Destination, "Keys @ studio-mac").unwrap();
        let there = writer.exists("midip2p:Keys @ studio-mac (in)");
        if !there {
            rig.backend.unmirror(PortId(6));
        }
        there
    });
}

/// Eight notes, 1 ms apart when written, are 48 frames apart when they are heard.
fn the_rhythm_is_kept(rig: &mut Rig) {
    let (mut synth, _) = rig.plug("Metronome", "in", Direction::Destination);
    rig.backend.attach(PortId(7), &synth.identity, Direction::Destination).unwrap();
    let ms = Span::from_ms(1);
    // A machine that is busy with other things is late with its periods, and what waited for one goes
    // at once; but were the rhythm lost, hardly any two notes would ever be as far apart as they were.
    let (mut kept, mut all) = (0, Vec::new());
    for _ in 0..100 {
        let begin = clock::now();
        for i in 0..8_u8 {
            // The moment is the driver's argument: how fast this loop runs plays no part.
            let at = begin + ms * i64::from(i);
            while clock::now() < at {
                std::hint::spin_loop();
            }
            rig.driver.write(at, PortId(7), Ump::midi1(0, 0x90, i, 1)).unwrap();
        }
        let frames: Vec<u32> = synth.events(8).iter().map(|(frame, _)| *frame).collect();
        let apart = frames.windows(2).map(|w| w[1].wrapping_sub(w[0]));
        kept += apart.clone().filter(|apart| (46..=50).contains(apart)).count();
        all.extend(apart);
        if kept >= 20 {
            rig.backend.detach(PortId(7));
            return;
        }
    }
    panic!("frames between notes: {all:?}");
}

const NOTE_ON: [u8; 3] = [0x90, 60, 100];
const NOTE_OFF: [u8; 3] = [0x80, 60, 0];

fn short([status, a, b]: [u8; 3]) -> Ump {
    Ump::midi1(0, status, a, b)
}

/// What is written in the moment before a port goes is heard, though JACK plays it a period later.
fn last_notes_end(rig: &mut Rig) {
    let (mut synth, _) = rig.plug("Last synth", "in", Direction::Destination);
    for _ in 0..5 {
        rig.backend.attach(PortId(10), &synth.identity, Direction::Destination).unwrap();
        rig.write_all(PortId(10), &[short(NOTE_ON)]);
        assert_eq!(synth.bytes(3), NOTE_ON);
        rig.write_all(PortId(10), &[short(NOTE_OFF)]);
        rig.backend.detach(PortId(10));
        assert_eq!(synth.bytes(3), NOTE_OFF);
    }
    rig.wait(|_| synth.connections() == 0);

    let (mut reader, _) = rig.plug("Last reader", "in", Direction::Destination);
    for _ in 0..5 {
        // Made again at once, it is the same to other programs.
        rig.backend.mirror(PortId(11), Direction::Source, "Last @ elsewhere").unwrap();
        reader.connect("midip2p:Last @ elsewhere", "Last reader:in");
        rig.until(|e| *e == BackendEvent::Listened { id: PortId(11), listened: true });
        rig.write_all(PortId(11), &[short(NOTE_ON)]);
        assert_eq!(reader.bytes(3), NOTE_ON);
        rig.write_all(PortId(11), &[short(NOTE_OFF)]);
        rig.backend.unmirror(PortId(11));
        assert_eq!(reader.bytes(3), NOTE_OFF);
    }
    rig.wait(|_| !reader.exists("midip2p:Last @ elsewhere"));
}

/// The same when the whole backend goes, with everything that was written just before it. The driver goes
/// first, as when a node ends. Gives the backend that comes after.
fn last_notes_end_when_the_node_does(mut rig: Rig) -> Rig {
    let (mut synth, _) = rig.plug("Final synth", "in", Direction::Destination);
    rig.backend.attach(PortId(12), &synth.identity, Direction::Destination).unwrap();
    rig.write_all(PortId(12), &[short(NOTE_ON)]);
    assert_eq!(synth.bytes(3), NOTE_ON);
    let offs: Vec<[u8; 3]> = (0..128).map(|key| [0x80, key, 0]).collect();
    rig.write_all(PortId(12), &offs.iter().copied().map(short).collect::<Vec<_>>());
    let Rig { backend, driver, .. } = rig;
    drop(driver);
    let begin = Instant::now();
    drop(backend);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(synth.bytes(3 * 128), offs.concat());

    let mut rig = Rig::open();
    rig.until(
        |e| matches!(e, BackendEvent::Appeared { identity, .. } if *identity == synth.identity),
    );
    rig.backend.mirror(PortId(5), Direction::Source, "Keys @ studio-mac").unwrap();
    rig
}

fn the_server_comes_back(rig: &mut Rig, server: Server) {
    drop(server);
    rig.until(|e| matches!(e, BackendEvent::Lost { .. }));
    // Nobody waits for a server that is gone: what is written vanishes.
    rig.write_all(PortId(5), &[Ump::midi1(0, 0x90, 1, 1)]);
    let _server = Server::start();
    rig.until(|e| *e == BackendEvent::Back);
    // Mirrors are there again under their names.
    let (mut reader, _) = rig.plug("Reader", "in", Direction::Destination);
    reader.connect("midip2p:Keys @ studio-mac", "Reader:in");
    rig.until(|e| *e == BackendEvent::Listened { id: PortId(5), listened: true });
    rig.write_all(PortId(5), &[Ump::midi1(0, 0x90, 2, 3)]);
    assert_eq!(reader.bytes(3), [0x90, 2, 3]);
}

/// A dummy JACK server, ended when dropped.
struct Server(Child);

impl Server {
    fn start() -> Self {
        let name = std::env::var(SERVER).unwrap();
        let child = Command::new("jackd")
            // Synchronous, and patient: a machine that is busy with other things makes it late, but
            // no program misses a period, which would lose what was in it.
            .args(["-n", &name, "-R", "-P", "60", "-S", "-t", "5000"])
            .args(["-d", "dummy", "-r", RATE, "-p", PERIOD])
            .env("JACK_NO_AUDIO_RESERVATION", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, it frees its place among the eight servers that a machine may have; killed, it does not.
        let id = i32::try_from(self.0.id()).map(nix::unistd::Pid::from_raw).unwrap();
        let _ = nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + SOON;
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The backend, with this thread as ports stage and as real-time thread.
struct Rig {
    backend: Box<dyn Backend>,
    driver: Box<dyn Driver>,
    events: Receiver<BackendEvent>,
    wakes: Receiver<()>,
    heard: VecDeque<(PortId, LocalTime, Ump)>,
}

impl Rig {
    fn open() -> Self {
        let (sink, events) = mpsc::channel();
        let (wake, wakes) = mpsc::sync_channel(1);
        let context = BackendContext {
            node_name: "test".to_owned(),
            events: Arc::new(move |event| drop(sink.send(event))),
            wake: Arc::new(move || _ = wake.try_send(())),
        };
        let (backend, driver) = backend::open(context).unwrap();
        assert_eq!(backend.kind(), "jack");
        assert!(backend.domain().unwrap().0.ends_with(&std::env::var(SERVER).unwrap()));
        Self { backend, driver, events, wakes, heard: VecDeque::new() }
    }

    fn service(&mut self) {
        let now = clock::now();
        self.driver.service(now, &mut |id, at, message| {
            assert!(at <= now, "an event from the future");
            self.heard.push_back((id, at, message));
        });
    }

    /// Waits for an event and gives all that came before it.
    fn until(&mut self, wanted: impl Fn(&BackendEvent) -> bool) -> Vec<BackendEvent> {
        let deadline = Instant::now() + SOON;
        let mut seen = Vec::new();
        loop {
            self.service();
            match self.events.recv_timeout(Duration::from_millis(20)) {
                Ok(event) if wanted(&event) => return seen,
                Ok(event) => seen.push(event),
                Err(_) => assert!(Instant::now() < deadline, "it never came; before: {seen:?}"),
            }
        }
    }

    fn wait(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !done(self) {
            assert!(Instant::now() < deadline, "it never happened");
            let _ = self.wakes.recv_timeout(Duration::from_millis(20));
            self.service();
        }
    }

    fn hear(&mut self, count: usize) -> Vec<(PortId, Ump)> {
        let deadline = Instant::now() + SOON;
        while self.heard.len() < count && Instant::now() < deadline {
            let _ = self.wakes.recv_timeout(Duration::from_millis(100));
            self.service();
        }
        let mut before = LocalTime::from_ns(i64::MIN);
        let heard = self.heard.drain(..);
        heard
            .map(|(id, at, message)| {
                assert!(at >= before, "times run backwards");
                before = at;
                (id, message)
            })
            .collect()
    }

    fn write_all(&mut self, id: PortId, messages: &[Ump]) {
        let deadline = Instant::now() + SOON;
        for message in messages {
            while self.driver.write(clock::now(), id, *message).is_err() {
                assert!(Instant::now() < deadline, "the output stays full");
                // The driver said that it is full, so it wakes us when there is room.
                let _ = self.wakes.recv_timeout(Duration::from_millis(100));
                self.service();
            }
        }
        self.driver.flush(clock::now());
    }

    /// A program with one port, once it has been told of.
    fn plug(
        &mut self,
        client: &str,
        port: &str,
        direction: Direction,
    ) -> (Program, Vec<BackendEvent>) {
        let program = Program::new(client, port, direction);
        let identity = program.identity.clone();
        let seen = self.until(|event| {
            matches!(event, BackendEvent::Appeared { identity: i, direction: d, .. }
                if *i == identity && *d == direction)
        });
        (program, seen)
    }
}

/// Another program: a JACK client with one port.
struct Program {
    identity: PortIdentity,
    client: jack::AsyncClient<(), Callback>,
    own: Port<jack::Unowned>,
    to_play: SyncSender<Vec<u8>>,
    played: Receiver<(u32, Vec<u8>)>,
}

struct Callback {
    output: Option<Port<MidiOut>>,
    input: Option<Port<MidiIn>>,
    to_play: Receiver<Vec<u8>>,
    waiting: Option<Vec<u8>>,
    played: mpsc::Sender<(u32, Vec<u8>)>,
}

impl Program {
    fn new(client_name: &str, port_name: &str, direction: Direction) -> Self {
        let client = open_client(client_name);
        let (to_play, playing) = mpsc::sync_channel(2_048);
        let (heard, played) = mpsc::channel();
        let (mut output, mut input) = (None, None);
        let own = if direction == Direction::Source {
            let port = client.register_port(port_name, MidiOut::default()).unwrap();
            output.insert(port).clone_unowned()
        } else {
            let port = client.register_port(port_name, MidiIn::default()).unwrap();
            input.insert(port).clone_unowned()
        };
        let callback = Callback { output, input, to_play: playing, waiting: None, played: heard };
        let client = client.activate_async((), callback).unwrap();
        let identity = PortIdentity(format!("jack:{client_name}/{port_name}"));
        Self { identity, client, own, to_play, played }
    }

    fn connections(&self) -> usize {
        self.own.connected_count().unwrap()
    }

    fn exists(&self, full: &str) -> bool {
        self.client.as_client().port_by_name(full).is_some()
    }

    fn connect(&self, from: &str, to: &str) {
        self.client.as_client().connect_ports_by_name(from, to).unwrap();
    }

    fn play(&mut self, messages: &[Vec<u8>]) {
        messages.iter().for_each(|m| self.to_play.send(m.clone()).unwrap());
    }

    /// What came: frame times and bytes, until there are `count` events.
    fn events(&mut self, count: usize) -> Vec<(u32, Vec<u8>)> {
        (0..count).map(|_| self.played.recv_timeout(SOON).unwrap()).collect()
    }

    /// What came, until there are `count` bytes.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.played.recv_timeout(SOON).unwrap().1);
        }
        all
    }
}

/// The server may have been started this moment.
fn open_client(name: &str) -> Client {
    let deadline = Instant::now() + SOON;
    loop {
        match Client::new(name, ClientOptions::NO_START_SERVER | ClientOptions::USE_EXACT_NAME) {
            Ok((client, _)) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

impl jack::ProcessHandler for Callback {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        if let Some(port) = &mut self.output {
            let mut writer = port.writer(scope);
            while let Some(mut bytes) = self.waiting.take().or_else(|| self.to_play.try_recv().ok())
            {
                // What is too large for the buffer goes in pieces, as bridges do it.
                let rest = bytes.split_off(bytes.len().min(writer.max_event_size()));
                let piece = RawMidi { time: 0, bytes: &bytes };
                if bytes.is_empty() || writer.write(&piece).is_err() {
                    self.waiting = Some([bytes, rest].concat());
                    break;
                }
                self.waiting = Some(rest).filter(|rest| !rest.is_empty());
            }
        }
        if let Some(port) = &self.input {
            for event in port.iter(scope) {
                let frame = scope.last_frame_time().wrapping_add(event.time);
                let _ = self.played.send((frame, event.bytes.to_vec()));
            }
        }
        Control::Continue
    }
}

#[test]
fn the_traffic_of_this_test_is_what_it_says() {
    let (bytes, packets) = traffic();
    let written: Vec<u8> =
        packets.iter().flat_map(|p| Writer::new().write(p).unwrap().to_vec()).collect();
    assert_eq!(written, bytes.concat());
    assert_eq!(bytes.iter().map(Vec::len).max(), Some(40_000));
}
