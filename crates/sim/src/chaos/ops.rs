//! What happens to the mesh.

use midip2p_proto::control::Input;
use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::discovery::Via;
use midip2p_proto::control::port::{Direction, PortIdentity};
use midip2p_proto::control::routing::{RouteCommand, RouteEnd, RouteId, RouteSpec};
use midip2p_proto::data::filter::{Filter, Kinds};
use midip2p_proto::midi::Ump;
use midip2p_proto::node::NodeInput;
use midip2p_proto::time::Span;

use super::{Chaos, NODES};
use crate::scenario::dump;

impl Chaos {
    /// One operation, and the time until the next.
    pub(super) fn operate(&mut self) -> Result<(), String> {
        let awake: Vec<usize> = (0..NODES).filter(|n| self.is_awake(*n)).collect();
        let host = self.pick(NODES);
        let other = (host + 1 + self.pick(NODES - 1)) % NODES;
        let kind = self.pick(100);
        match kind {
            0..=57 => self.play(host),
            58..=60 => self.sysex(host),
            61..=63 => self.listen(host),
            64..=66 => self.toggle_port(host),
            67..=69 => self.toggle_app(host),
            70..=78 => self.change_routes(host),
            79..=82 => self.name_peer(host, other),
            83..=86 => self.cut(host, other),
            87..=88 => self.part(),
            89..=91 => self.join(),
            92 if awake.len() > 4 => self.end(host),
            93 if awake.len() > 4 => self.sleep(host),
            94 => self.move_away(host),
            95 => self.panic(host),
            _ => self.begin_again(host),
        }
        self.drop_what_is_gone();
        let most = if self.pick(40) == 0 { 4_000 } else { 40 };
        let pause = i64::try_from(self.pick(most)).unwrap_or(0);
        self.world.run(Span::from_ms(pause))?;
        let due: Vec<usize> =
            self.sleeps.iter().filter(|(_, at)| **at <= self.world.now).map(|(h, _)| *h).collect();
        due.into_iter().for_each(|host| self.wake(host));
        Ok(())
    }

    fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.world.random.below(below as u64)).unwrap_or(0)
    }

    fn is_awake(&self, host: usize) -> bool {
        let host = &self.world.hosts[host];
        host.node.is_some() && host.asleep.is_none()
    }

    /// A port by which something on this host may send: its keys, its program, or a mirror.
    fn any_source(&mut self, host: usize) -> (String, u8) {
        let n = (host + 1 + self.pick(NODES - 1)) % NODES;
        match self.pick(5) {
            0 => (format!("Synth{n} @ node{n}"), 12),
            1 => (format!("play{host}"), 8),
            _ => (format!("Keys{host}"), 0),
        }
    }

    /// Presses some keys, or lets go of some.
    fn play(&mut self, host: usize) {
        if !self.is_awake(host) {
            return;
        }
        let (name, base) = self.any_source(host);
        let channel = base + self.pick(2).to_le_bytes()[0];
        let group = self.group(host);
        let own = self.held.iter().filter(|(h, n, ..)| (*h, n) == (host, &name));
        let own: Vec<_> = own.cloned().collect();
        if own.len() > 3 || !own.is_empty() && self.pick(2) == 0 {
            let key = own[self.pick(own.len())].clone();
            self.world.send(host, &name, Ump::midi1(group, 0x80 | key.2, key.3, 1));
            self.held.remove(&key);
            return;
        }
        let note = 40 + self.pick(40).to_le_bytes()[0];
        if self.world.send(host, &name, Ump::midi1(group, 0x90 | channel, note, 100)) {
            self.held.insert((host, name, channel, note));
        }
    }

    fn sysex(&mut self, host: usize) {
        if self.is_awake(host) {
            self.numbers += 1;
            let (group, length) = (self.group(host), 1 + self.pick(3_000));
            let data = dump(self.numbers, length);
            self.world.sysex(host, &format!("Keys{host}"), group, &data);
        }
    }

    /// A program begins or ceases to listen to a mirror.
    fn listen(&mut self, host: usize) {
        let sources =
            self.world.hosts[host].mirrors.values().filter(|(d, _)| *d == Direction::Source);
        let names: Vec<String> = sources.map(|(_, name)| name.clone()).collect();
        if !self.is_awake(host) || names.is_empty() {
            return;
        }
        let name = names[self.pick(names.len())].clone();
        let key = (host, name.clone());
        let listens = !self.listened.contains(&key);
        if listens {
            self.listened.insert(key)
        } else {
            self.listened.remove(&key)
        };
        self.note(format!("{host} listens to {name}: {listens}"));
        self.world.listen(host, &name, listens);
        if !listens {
            self.world.checkers.unplugged(&(host, name));
        }
    }

    fn toggle_port(&mut self, host: usize) {
        if self.world.hosts[host].asleep.is_some() {
            return;
        }
        let (name, direction) = if self.pick(2) == 0 {
            (format!("Keys{host}"), Direction::Source)
        } else {
            (format!("Synth{host}"), Direction::Destination)
        };
        let there = self.world.hosts[host].ports.contains_key(&name);
        self.note(format!("{name} is there: {}", !there));
        if there {
            self.world.unplug(host, &name);
            self.world.checkers.unplugged(&(host, name));
        } else {
            self.world.plug(host, &name, direction);
        }
    }

    /// A program opens or closes its port: one that plays, or one that hears everything.
    fn toggle_app(&mut self, host: usize) {
        if !self.is_awake(host) {
            return;
        }
        let (name, direction, wishes) = if self.pick(2) == 0 {
            (format!("play{host}"), Direction::Source, vec![])
        } else {
            (format!("monitor{host}"), Direction::Destination, vec![Wish::All])
        };
        let there = self.world.hosts[host].apps.contains_key(&name);
        self.note(format!("{name} is open: {}", !there));
        if there {
            self.world.close_app(host, &name);
            self.world.checkers.unplugged(&(host, name));
        } else {
            self.world.open_app(host, &name, direction, wishes);
        }
    }

    /// Monitors close: while one is open, every source is read, rightly or not.
    pub(super) fn nobody_hears_all(&mut self) {
        self.note("all monitors close".to_owned());
        for host in 0..NODES {
            let name = format!("monitor{host}");
            self.world.close_app(host, &name);
            self.world.checkers.unplugged(&(host, name));
        }
    }

    fn change_routes(&mut self, host: usize) {
        if !self.is_awake(host) {
            return;
        }
        let all: Vec<RouteId> = self.world.hosts[host].routes.1.iter().map(|(id, _)| *id).collect();
        let command = match self.pick(4) {
            0 | 1 if all.len() < 6 => RouteCommand::Add(self.any_route(host)),
            2 if !all.is_empty() => RouteCommand::Remove(all[self.pick(all.len())]),
            _ if !all.is_empty() => RouteCommand::Change {
                id: all[self.pick(all.len())],
                filter: (self.pick(2) == 0).then(|| self.any_filter()),
                priority: None,
                enabled: (self.pick(2) == 0).then_some(self.pick(2) == 0),
            },
            _ => return,
        };
        self.note(format!("{host}: {}", brief(&command)));
        self.world.route(host, command);
    }

    /// A route of which at least one end is on this host, whether they are there or not.
    fn any_route(&mut self, host: usize) -> RouteSpec {
        let (from, to) = match self.pick(3) {
            0 => (host, host),
            1 => (host, self.pick(NODES)),
            _ => (self.pick(NODES), host),
        };
        let end = |n: usize, name: String, identity: String| RouteEnd {
            node: (n != host).then(|| self.world.hosts[n].id),
            identity: PortIdentity(identity),
            name,
        };
        let source = end(from, format!("Keys{from}"), format!("dev:Keys{from}"));
        let app = end(from, format!("play{from}"), format!("app:play{from}"));
        let sink = end(to, format!("Synth{to}"), format!("dev:Synth{to}"));
        let source = if self.pick(3) == 0 { app } else { source };
        RouteSpec {
            source,
            sink,
            filter: self.any_filter(),
            priority: 0,
            enabled: self.pick(8) > 0,
        }
    }

    fn any_filter(&mut self) -> Filter {
        let mut filter = Filter::default();
        if self.pick(2) == 0 {
            filter.transpose = [-12, -5, 3, 7, 12][self.pick(5)];
        }
        if self.pick(3) == 0 {
            filter.channels = self.world.random.next_u64().to_le_bytes()[0].into();
        }
        if self.pick(3) == 0 {
            let (from, to) = (self.pick(16), self.pick(16).to_le_bytes()[0]);
            filter.channel_map[from] = to;
        }
        if self.pick(4) == 0 {
            filter.kinds = [Kinds::NOTES, Kinds::ALL.without(Kinds::SYSEX)][self.pick(2)];
        }
        self.filters.push(filter);
        filter
    }

    fn name_peer(&mut self, host: usize, other: usize) {
        self.note(format!("{host} is told of {other}"));
        self.world.find(host, other);
    }

    /// The streams between two nodes break; now and then only one end is told.
    fn cut(&mut self, host: usize, other: usize) {
        if self.is_awake(host) && self.is_awake(other) {
            let only = (self.pick(3) == 0).then_some(host);
            self.note(format!("streams of {host} and {other} break, only {only:?} is told"));
            self.world.break_streams(host, other, only);
        }
    }

    /// The mesh falls apart in two.
    fn part(&mut self) {
        let side = self.world.random.next_u64();
        let one: Vec<usize> = (0..NODES).filter(|n| side >> n & 1 == 1).collect();
        self.note(format!("{one:?} are apart from the others"));
        for a in 0..NODES {
            for b in 0..a {
                if (side >> a ^ side >> b) & 1 == 1 {
                    self.world.part(a, b);
                }
            }
        }
    }

    fn join(&mut self) {
        self.note("all are together".to_owned());
        for a in 0..NODES {
            (0..a).for_each(|b| self.world.join(a, b));
        }
    }

    /// A node ends: with a farewell, without one, or with its machine.
    fn end(&mut self, host: usize) {
        let how = self.pick(3);
        self.note(format!("{host} ends, {}", ["with a farewell", "killed", "switched off"][how]));
        match how {
            0 if self.is_awake(host) => self.world.stop(host),
            how => self.world.die(host, how == 2),
        }
        self.world.checkers.switched_off(host);
        self.sleeps.remove(&host);
    }

    /// A node that has ended starts again, and is told of those that its options name.
    fn begin_again(&mut self, host: usize) {
        if self.world.hosts[host].node.is_none() {
            self.start(host);
        }
    }

    pub(super) fn start(&mut self, host: usize) {
        self.note(format!("{host} starts"));
        self.world.start(host);
        // Programs that listened do so no more: what they were connected to is gone.
        self.listened.retain(|(listening, _)| *listening != host);
        let peer = if host == 0 { NODES - 1 } else { 0 };
        self.world.find(host, peer);
    }

    fn sleep(&mut self, host: usize) {
        if self.is_awake(host) {
            let span = Span::from_ms([700, 5_000, 20_000, 100_000][self.pick(4)]);
            self.note(format!("{host} sleeps for {} ms", span.as_us() / 1000));
            self.world.fall_asleep(host);
            self.sleeps.insert(host, self.world.now.after(span));
        }
    }

    pub(super) fn wake(&mut self, host: usize) {
        if self.sleeps.remove(&host).is_some() {
            self.note(format!("{host} wakes up"));
            self.world.wake_up(host);
        }
    }

    fn move_away(&mut self, host: usize) {
        self.note(format!("{host} has another address"));
        self.moved = true;
        self.world.move_host(host);
    }

    fn panic(&mut self, host: usize) {
        self.note(format!("{host} presses panic"));
        for n in 0..NODES {
            self.world.checkers.may_be_cut(n);
        }
        self.world.tell(host, NodeInput::Control(Input::Panic));
    }

    /// Multicast finds whoever has moved, and only them: the others are found by what nodes know.
    pub(super) fn announce(&mut self) {
        for to in 0..NODES {
            for host in 0..NODES {
                let h = &self.world.hosts[host];
                if host != to && h.node.is_some() && h.address != crate::host::Host::address(host) {
                    let (address, node) = (h.address, Some(h.id));
                    let input = Input::Found { address, node, via: Via::Multicast };
                    self.world.tell(to, NodeInput::Control(input));
                }
            }
        }
    }

    /// Keys of a port that is gone are held no more, and nobody listens to a mirror that is gone.
    fn drop_what_is_gone(&mut self) {
        let hosts = &self.world.hosts;
        self.held.retain(|(host, name, ..)| hosts[*host].source(name).is_some());
    }
}

fn brief(command: &RouteCommand) -> String {
    match command {
        RouteCommand::Add(spec) => format!("a route {} ▸ {}", spec.source.name, spec.sink.name),
        RouteCommand::Change { id, filter, enabled, .. } => {
            format!("route {} changes: filter {}, enabled {enabled:?}", id.0, filter.is_some())
        }
        RouteCommand::Remove(id) => format!("route {} is removed", id.0),
    }
}
