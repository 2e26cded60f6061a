//! What a program has of a node: app ports of its own, as JSONMIDI both ways.
//!
//! Two kinds of program come here: those with a WebSocket ([`crate::http::ws`]), whose query says what they
//! want, and those with a TOAST connection ([`client`]), who say it in a word. From then on both are the same:
//!
//! ```text
//! texts of the program ▸ player ▸ source port ▸ …      while the receivers keep up
//! … ▸ destination port ▸ listener ▸ texts for the program    the oldest go, and it is told
//! ```
//!
//! A text is heard while the one before is still being taken (`said`), so a cancel, and the end of the
//! program, need not wait for a dump. A text is one or more lines. The node's own words have a `status` and no
//! `type`, the program's have a `command`. The ports live as long as the session; an app port of that name that
//! the node keeps (`up --app-port`) is joined instead when no `to` or `from` is asked for.

use std::sync::Arc;
use std::time::Duration;

use midip2p_proto::control::bus::{Reach, Wish};
use midip2p_proto::control::port::{Direction, Home};
use midip2p_proto::id::PortId;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::asked::Asked;
use self::player::Player;
use self::said::{Cancels, Said, Says, Waiting};
use crate::node::Shared;
use crate::ports::app::{AppSink, AppSource};
use crate::stages::control::ControlInput;
use crate::stages::inbox;
use crate::stages::opening::{AppRequest, OpenPort};

pub(crate) mod asked;
pub mod names;
pub(crate) mod said;

mod listener;
mod news;
mod player;

pub mod client;
mod lines;

/// Longest text, and longest line, taken from a program: a SysEx of 16 MiB as hex digits, and its JSON.
pub(crate) const TEXT_MAX: usize = 34 << 20;

/// How long what a program said last may take after it is gone: what it holds must not hang for as long as a
/// dump takes.
const GONE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the control stage has to open a port.
const OPENED_WITHIN: Duration = Duration::from_secs(2);

/// One end of an app port that a program has.
#[derive(Clone, Copy)]
struct Opened {
    port: PortId,
    /// Whether it was opened for this program, and is closed with it.
    own: bool,
}

/// A program on its ports. To be ended with [`Session::close`].
pub(crate) struct Session {
    shared: Arc<Shared>,
    texts: mpsc::Sender<String>,
    cancels: Cancels,
    opened: Vec<Opened>,
    player: Option<Player>,
    listening: Option<JoinHandle<()>>,
    telling: Option<JoinHandle<()>>,
}

impl Session {
    /// Opens what is asked for, and says so in `texts` once all peers know it; what is heard follows there.
    ///
    /// # Errors
    /// In words, when there is no room or the node is stopping; then nothing is left open.
    pub(crate) async fn open(
        asked: &Asked,
        shared: &Arc<Shared>,
        texts: &mpsc::Sender<String>,
    ) -> Result<Self, String> {
        let mut opened = Vec::new();
        let ends = match open_ends(asked, shared, &mut opened).await {
            Ok(ends) => ends,
            Err(why) => {
                close_ports(&opened, shared).await;
                return Err(why);
            }
        };
        let ready = json!({ "status": "ready", "port": asked.name }).to_string();
        // Nobody hears it when the program is gone; then nothing comes of the session either.
        let _ = texts.send(ready).await;
        let listening = ends
            .sink
            .map(|sink| tokio::spawn(listener::run(sink, Arc::clone(shared), texts.clone())));
        let telling = ends.source.as_ref().map(|(end, _)| {
            let (heard, shared) = (shared.news.subscribe(), Arc::clone(shared));
            tokio::spawn(news::run(heard, end.port, shared, texts.clone()))
        });
        let cancels = Cancels::default();
        let player = ends.source.map(|(end, source)| {
            let told = (cancels.clone(), texts.clone());
            Player::new(end.port, source, Arc::clone(shared), told)
        });
        let (shared, texts) = (Arc::clone(shared), texts.clone());
        Ok(Self { shared, texts, cancels, opened, player, listening, telling })
    }

    /// Takes what a program says, until it is gone.
    pub(crate) async fn serve(&mut self, program: &mut impl Says) {
        let mut waiting = Waiting::default();
        let mut gone = None;
        loop {
            let (said, before) = match waiting.pop() {
                Some(next) => next,
                None if gone.is_some() => return,
                None => tokio::select! {
                    said = program.next() => match said {
                        Some(said) => (said, self.cancels.count()),
                        None => return,
                    },
                    // The program cannot be written to any more: it is gone.
                    () = self.texts.closed() => return,
                },
            };
            let (texts, plays) = (self.texts.clone(), self.player.is_some());
            let cancels = self.cancels.clone();
            let taking = self.take(&said, before);
            tokio::pin!(taking);
            // A dump may take long; whoever does not want it any more is heard meanwhile.
            loop {
                let last = gone.unwrap_or_else(Instant::now);
                tokio::select! {
                    () = &mut taking => break,
                    next = program.next(), if gone.is_none() && waiting.has_room() => match next {
                        Some(next) if plays && next.is_cancel() => cancels.ask(),
                        Some(next) => waiting.push(next, cancels.count()),
                        None => gone = Some(Instant::now() + GONE_PATIENCE),
                    },
                    () = texts.closed(), if gone.is_none() => {
                        gone = Some(Instant::now() + GONE_PATIENCE);
                    }
                    () = tokio::time::sleep_until(last), if gone.is_some() => return,
                }
            }
        }
    }

    /// Takes records, or a command; `before` is how many cancels had been asked for when it was said. It
    /// comes back when there is room for the next.
    async fn take(&mut self, said: &Said, before: u64) {
        let answers = match (said, &mut self.player) {
            (Said::Wrong(why), _) => vec![error(why)],
            (Said::Text(text), Some(player)) => player.take(text, before).await,
            (Said::Text(text), None) if text.trim().is_empty() => return,
            _ => vec![error("this port only listens; ask for a source to play")],
        };
        for answer in answers {
            let _ = self.texts.send(answer).await;
        }
        // The last thing that is done: what is asked for before this returns is not left for the next text.
        if let Some(player) = &mut self.player {
            player.heed().await;
        }
    }

    /// The program is gone, or done: what it left sounding ends, its ports go.
    pub(crate) async fn close(self) {
        if let Some(player) = self.player {
            player.let_go().await;
        }
        close_ports(&self.opened, &self.shared).await;
        for task in self.listening.into_iter().chain(self.telling) {
            task.abort();
        }
    }
}

/// The word for what went wrong.
pub(crate) fn error(why: &str) -> String {
    json!({ "status": "error", "error": why }).to_string()
}

/// What a program has of a node.
struct Ends {
    source: Option<(Opened, AppSource)>,
    sink: Option<AppSink>,
}

/// Opens what is asked for; what was opened for this program, whole or not, is entered in `opened`.
async fn open_ends(
    asked: &Asked,
    shared: &Shared,
    opened: &mut Vec<Opened>,
) -> Result<Ends, String> {
    let mut ends = Ends { source: None, sink: None };
    if asked.source {
        let port = open_port(asked, Direction::Source, &asked.to, shared).await?;
        opened.push(port);
        ends.source = Some((port, shared.apps.source(port.port).map_err(|e| e.to_string())?));
    }
    if asked.destination {
        let port = open_port(asked, Direction::Destination, &asked.from, shared).await?;
        opened.push(port);
        ends.sink = Some(shared.apps.sink(port.port).map_err(|e| e.to_string())?);
    }
    Ok(ends)
}

async fn close_ports(opened: &[Opened], shared: &Shared) {
    for opened in opened.iter().filter(|o| o.own) {
        let _ = shared.control.send(ControlInput::AppClose(opened.port)).await;
    }
}

async fn open_port(
    asked: &Asked,
    direction: Direction,
    wishes: &[Wish],
    shared: &Shared,
) -> Result<Opened, String> {
    let ids = shared.kept.load();
    let kept = shared.view.load().ports.iter().find_map(|p| {
        let is_it = p.reach == Reach::Local(Home::App)
            && ids.contains(&p.id)
            && p.direction == direction
            && p.name.to_lowercase() == asked.name.to_lowercase();
        is_it.then_some(p.id)
    });
    if let (Some(port), true) = (kept, wishes.is_empty()) {
        return Ok(Opened { port, own: false });
    }
    let (opened, is_open) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let request = AppRequest {
        name: asked.name.clone(),
        direction,
        exported: asked.exported,
        wishes: wishes.to_vec(),
        opened,
        ready,
    };
    let gone = || "the node is stopping".to_owned();
    let port = opened_in_time(shared.control.clone(), request, is_open)
        .await?
        .ok_or_else(|| "this node has no room for one more port".to_owned())?;
    is_ready.await.map_err(|_| gone())?;
    Ok(Opened { port: port.keep(), own: true })
}

/// Has the control stage open a port; one that is open too late for whoever asked is closed again.
async fn opened_in_time(
    control: inbox::Sender<ControlInput>,
    request: AppRequest,
    is_open: oneshot::Receiver<Option<OpenPort>>,
) -> Result<Option<OpenPort>, String> {
    let gone = || "the node is stopping, or made a mistake: see its log".to_owned();
    let busy = || "the node has more to do than it can, and opened no port; try again".to_owned();
    let until = Instant::now() + OPENED_WITHIN;
    let handed_over = timeout_at(until, control.send(ControlInput::AppOpen(request))).await;
    handed_over.map_err(|_| busy())?.map_err(|_| gone())?;
    timeout_at(until, is_open).await.map_err(|_| busy())?.map_err(|_| gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_port_that_is_open_too_late_is_closed_again() {
        let (control, mut inbox) = inbox::inbox("control", inbox::Policy::Wait, 4);
        let closer = control.clone();
        let ((opened, is_open), (ready, _)) = (oneshot::channel(), oneshot::channel());
        let request = AppRequest {
            name: "app".to_owned(),
            direction: Direction::Source,
            exported: false,
            wishes: Vec::new(),
            opened,
            ready,
        };
        let begun = Instant::now();
        let why = opened_in_time(control, request, is_open).await.unwrap_err();
        assert!(why.contains("try again"), "{why}");
        assert_eq!(begun.elapsed(), OPENED_WITHIN);
        let Some(ControlInput::AppOpen(request)) = inbox.recv().await else { panic!("not asked") };
        let port = OpenPort::new(PortId(7), closer);
        assert!(request.opened.send(Some(port)).is_err());
        assert!(matches!(inbox.recv().await, Some(ControlInput::AppClose(PortId(7)))));
    }
}
