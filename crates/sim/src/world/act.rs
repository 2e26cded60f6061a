//! What scenarios do, and what nodes want done to ports.

use midip2p_proto::control::bus::Wish;
use midip2p_proto::control::port::{BackendNo, Direction, PortIdentity};
use midip2p_proto::control::routing::RouteCommand;
use midip2p_proto::control::{Action, Input, Note};
use midip2p_proto::id::PortId;
use midip2p_proto::midi::{Ump, sysex7};
use midip2p_proto::node::NodeInput;

use super::{Mutant, World};
use crate::host::Port;

const BACKEND: BackendNo = BackendNo(0);

impl World {
    /// A device is plugged in, or a program opens a port.
    pub fn plug(&mut self, host: usize, name: &str, direction: Direction) {
        let identity = PortIdentity(format!("dev:{name}"));
        let port = Port { identity, direction, attached: None };
        self.hosts[host].ports.insert(name.to_owned(), port);
        self.port_appears(host, name);
    }

    /// It is unplugged.
    pub fn unplug(&mut self, host: usize, name: &str) {
        let Some(port) = self.hosts[host].ports.remove(name) else { return };
        self.checkers.may_be_cut(host);
        if self.bites(Mutant::MissVanish, 3) {
            return;
        }
        let input = Input::PortVanished(BACKEND, port.identity, port.direction);
        self.tell(host, NodeInput::Control(input));
    }

    pub(super) fn port_appears(&mut self, host: usize, name: &str) {
        let Some(port) = self.hosts[host].ports.get(name).cloned() else { return };
        let input = Input::PortAppeared(BACKEND, port.identity, port.direction, name.to_owned());
        self.tell(host, NodeInput::Control(input));
    }

    /// A program opens a port in the node; it is there at once, and known to peers a little later.
    pub fn open_app(&mut self, host: usize, name: &str, direction: Direction, wishes: Vec<Wish>) {
        let request = self.random.next_u64();
        self.hosts[host].requests.insert(request, name.to_owned());
        let exported = direction == Direction::Source;
        let name = name.to_owned();
        let input = Input::AppOpen { request, name, direction, exported, wishes };
        self.tell(host, NodeInput::Control(input));
    }

    /// The program closes it.
    pub fn close_app(&mut self, host: usize, name: &str) {
        self.hosts[host].ready.remove(name);
        self.checkers.excused = true;
        let Some(id) = self.hosts[host].apps.remove(name) else { return };
        self.tell(host, NodeInput::Control(Input::AppClose(id)));
    }

    /// Programs begin or cease to use a mirror; `false` when there is none of this name.
    pub fn listen(&mut self, host: usize, name: &str, listened: bool) -> bool {
        let Some(id) = self.hosts[host].mirror(name) else { return false };
        self.checkers.excused |= !listened;
        self.tell(host, NodeInput::Control(Input::Listened(id, listened)));
        true
    }

    /// A source (or a program that plays on a mirror) gives a packet to the node; `false` when the
    /// node does not listen to it.
    pub fn send(&mut self, host: usize, name: &str, message: Ump) -> bool {
        let Some(port) = self.hosts[host].source(name) else { return false };
        if self.hosts[host].node.is_none() {
            return false;
        }
        let at = self.hosts[host].clock.read(self.now);
        self.checkers.sent(self.now, &message);
        self.tell(host, NodeInput::Midi { port, at, message });
        true
    }

    /// A source gives a whole SysEx, without F0 and F7.
    pub fn sysex(&mut self, host: usize, name: &str, group: u8, data: &[u8]) -> bool {
        sysex7::packets(group, data).all(|packet| self.send(host, name, packet))
    }

    /// A node is stopped as it should be.
    pub fn stop(&mut self, host: usize) {
        self.tell(host, NodeInput::Control(Input::Stop));
        self.end(host, false);
    }

    /// A node ends without a word; `silently`: so does its system, and streams just stay open. What
    /// sounds on its outputs is switched off with it, for nobody is left to end it.
    pub fn die(&mut self, host: usize, silently: bool) {
        self.end(host, silently);
        self.checkers.switched_off(host);
    }

    fn end(&mut self, host: usize, silently: bool) {
        self.abandon_streams(host, silently);
        let h = &mut self.hosts[host];
        h.node = None;
        h.asleep = None;
        h.requests.clear();
        h.appointment += 1;
        h.mirrors.clear();
        h.leaving.clear();
        h.apps.clear();
        h.ready.clear();
        h.ports.values_mut().for_each(|p| p.attached = None);
        self.asleep.remove(&host);
        self.checkers.may_be_cut(host);
    }

    /// A machine falls asleep: its time stands still, what is sent to it by datagram is lost, and what
    /// comes by stream waits.
    pub fn fall_asleep(&mut self, host: usize) {
        let shows = self.hosts[host].clock.read(self.now);
        self.hosts[host].asleep.get_or_insert(shows);
    }

    /// It wakes up, and its time goes on from where it stood.
    pub fn wake_up(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        let Some(showed) = h.asleep.take() else { return };
        let slept = h.clock.read(self.now) - showed;
        h.clock.offset = h.clock.offset - slept;
        self.tell(host, NodeInput::Timeout);
        for event in self.asleep.remove(&host).unwrap_or_default() {
            self.stream_event(event);
        }
    }

    /// A machine gets another address: what it had open stands still, and nobody says so.
    pub fn move_host(&mut self, host: usize) {
        self.cut_streams(host);
        let address = &mut self.hosts[host].address;
        if let std::net::IpAddr::V4(ip) = address.ip() {
            let [net, moves, high, low] = ip.octets();
            address.set_ip([net, moves.wrapping_add(1), high, low].into());
        }
    }

    /// Somebody wants something done with the routes of a node; its answer is not looked at.
    pub fn route(&mut self, host: usize, command: RouteCommand) {
        self.tell(host, NodeInput::Control(Input::Route(0, command)));
    }

    /// Two hosts do not reach each other any more.
    pub fn part(&mut self, a: usize, b: usize) {
        self.network.part(a, b);
    }

    /// They do again.
    pub fn join(&mut self, a: usize, b: usize) {
        self.network.join(a, b);
        self.release_streams(a, b);
    }

    /// Whether two nodes have a link and each knows the other's ports.
    #[must_use]
    pub fn linked(&self, a: usize, b: usize) -> bool {
        let has = |x: usize, y: usize| {
            self.hosts[x].node.as_ref().is_some_and(|n| {
                n.control()
                    .peers()
                    .iter()
                    .any(|p| p.node == Some(self.hosts[y].id) && p.link.is_some())
            })
        };
        has(a, b) && has(b, a)
    }

    pub(super) fn act(&mut self, host: usize, action: Action) {
        let keeps = match &action {
            Action::Unmirror(..) => self.bites(Mutant::KeepMirror, 3),
            Action::Detach(..) => self.bites(Mutant::KeepPort, 3),
            _ => false,
        };
        let h = &mut self.hosts[host];
        let mut attached = None;
        match action {
            _ if keeps => {}
            Action::Attach(_, id, identity, _) => {
                if let Some(port) = h.ports.values_mut().find(|p| p.identity == identity) {
                    port.attached = Some(id);
                    attached = Some(id);
                }
            }
            Action::Detach(_, id) => {
                let port = h.ports.values_mut().find(|p| p.attached == Some(id));
                port.into_iter().for_each(|p| p.attached = None);
            }
            Action::Mirror(_, id, direction, name) => self.mirror_made(host, id, direction, name),
            Action::Unmirror(_, id) => {
                if let Some((_, name)) = h.mirrors.remove(&id) {
                    h.leaving.insert(id, name);
                }
                self.checkers.may_be_cut(host);
            }
            Action::AppOpened(request, id) => {
                if let (Some(name), Some(id)) = (h.requests.get(&request), id) {
                    h.apps.insert(name.clone(), id);
                }
            }
            Action::AppReady(request) => {
                if let Some(name) = h.requests.remove(&request) {
                    h.ready.insert(name);
                }
            }
            Action::RoutesChanged => {
                h.routes =
                    h.node.as_ref().map(|n| n.control().bus().kept_routes()).unwrap_or_default();
            }
            Action::Note(note) => {
                self.checkers.excused |= matches!(note, Note::Down(..));
                h.notes.push(note);
            }
            _ => {}
        }
        if let Some(id) = attached {
            let h = &mut self.hosts[host];
            let now = h.clock.read(self.now);
            // It is still asked what there is to do.
            if let Some(node) = &mut h.node {
                node.handle(now, NodeInput::Control(Input::Attached(id)));
            }
        }
    }

    /// Holds that no two nodes of one backend mirror each other, nor one name stands for two ports.
    fn mirror_made(&mut self, host: usize, id: PortId, direction: Direction, name: String) {
        let ours = self.hosts[host].domains.last().cloned();
        let of_neighbour = self.hosts.iter().enumerate().find(|(n, other)| {
            *n != host
                && other.domains.last() == ours.as_ref()
                && name.ends_with(&format!(" @ {}", other.name))
        });
        if let Some((_, other)) = of_neighbour {
            let what =
                format!("host {host} mirrors {name}, a port of its neighbour {}", other.name);
            self.fail(what);
        }
        let mirrors = &mut self.hosts[host].mirrors;
        let twin = mirrors.insert(id, (direction, name.clone())).is_some()
            || mirrors.values().filter(|m| **m == (direction, name.clone())).count() > 1;
        if twin {
            self.fail(format!("host {host} has {name} twice"));
        }
    }
}
