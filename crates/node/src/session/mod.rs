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
//! A text is one or more lines. The node's own words have a `status` and no `type`, the program's have a
//! `command`. The ports live as long as the session; an app port of that name that the node keeps
//! (`up --app-port`) is joined instead when no `to` or `from` is asked for.

use std::sync::Arc;

use midip2p_proto::control::bus::{Reach, Wish};
use midip2p_proto::control::port::{Direction, Home};
use midip2p_proto::id::PortId;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::asked::Asked;
use self::player::Player;
use crate::node::Shared;
use crate::ports::app::{AppSink, AppSource};
use crate::stages::control::{AppRequest, ControlInput};

pub(crate) mod asked;
pub mod names;

mod listener;
mod news;
mod player;

pub mod client;
mod lines;

/// Longest text, and longest line, taken from a program: a SysEx of 16 MiB as hex digits, and its JSON.
pub(crate) const TEXT_MAX: usize = 34 << 20;

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
        let player =
            ends.source.map(|(end, source)| Player::new(end.port, source, Arc::clone(shared)));
        let (shared, texts) = (Arc::clone(shared), texts.clone());
        Ok(Self { shared, texts, opened, player, listening, telling })
    }

    /// Takes a text: records, or a command. It comes back when there is room for the next.
    pub(crate) async fn take(&mut self, text: &str) {
        let answers = match &mut self.player {
            Some(player) => player.take(text).await,
            None if text.trim().is_empty() => return,
            None => vec![error("this port only listens; ask for a source to play")],
        };
        for answer in answers {
            let _ = self.texts.send(answer).await;
        }
    }

    /// What cancels the SysEx of this program, also while [`Session::take`] waits for it.
    pub(crate) fn canceller(&self) -> Canceller {
        let port = self.player.as_ref().map(Player::port);
        Canceller { port, shared: Arc::clone(&self.shared), texts: self.texts.clone() }
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

/// Cancels what a program has under way.
pub(crate) struct Canceller {
    port: Option<PortId>,
    shared: Arc<Shared>,
    texts: mpsc::Sender<String>,
}

impl Canceller {
    /// Whether a text is the command to cancel.
    pub(crate) fn is_meant(text: &str) -> bool {
        // Records are longer, or no commands.
        text.len() <= 64
            && serde_json::from_str::<serde_json::Value>(text)
                .is_ok_and(|word| word.get("command").is_some_and(|c| c == "cancel"))
    }

    /// Cancels it, and tells the program how many messages that were.
    pub(crate) async fn cancel(&self) {
        let messages = match self.port {
            Some(port) => player::cancel(port, &self.shared).await,
            None => 0,
        };
        let _ = self.texts.send(player::cancelled(messages)).await;
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
    shared.control.send(ControlInput::AppOpen(request)).await.map_err(|_| gone())?;
    let port = is_open
        .await
        .map_err(|_| gone())?
        .ok_or_else(|| "this node has no room for one more port".to_owned())?;
    is_ready.await.map_err(|_| gone())?;
    Ok(Opened { port, own: true })
}
