//! `GET /ws`: app ports for a program, as JSONMIDI both ways.
//!
//! The query says what is opened: `name`, `source`, `destination`, `exported` (each `true` or `false`),
//! `to` and `from` (port names, repeatable; `from=*` is every source). The ports live as long as the
//! socket; an app port of that name that the node keeps (`up --app-port`) is joined instead when no
//! `to` or `from` is asked for.
//!
//! The program sends JSONMIDI records; the node reads on only while the receivers keep up, so a program
//! that sends as fast as it can is paced by them. `{"command":"flush"}` is answered when everything was
//! acknowledged. The node sends what arrives, and words of its own, which have a `status` and no `type`.

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use midip2p_proto::control::bus::{Reach, Wish};
use midip2p_proto::control::port::{Direction, Home};
use midip2p_proto::id::PortId;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::Context;
use super::names::{NotFound, resolve};
use crate::node::Shared;
use crate::ports::app::{AppSink, AppSource};
use crate::stages::control::{AppRequest, ControlInput};

mod incoming;
mod outgoing;

/// Longest text message taken from a program: a SysEx of 16 MiB as hex digits, and its JSON.
const MESSAGE_MAX: usize = 34 << 20;

/// What a program asks for.
#[derive(Debug)]
struct Asked {
    name: String,
    source: bool,
    destination: bool,
    exported: bool,
    to: Vec<Wish>,
    from: Vec<Wish>,
}

/// One end of an app port that a program has.
#[derive(Clone, Copy)]
struct Opened {
    port: PortId,
    /// Whether it was opened for this program, and is closed with it.
    own: bool,
}

pub(super) async fn open(
    State(context): State<Arc<Context>>,
    Query(query): Query<Vec<(String, String)>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let asked = match parse(&context, &query) {
        Ok(asked) => asked,
        Err(NotFound { error, closest }) => {
            let body = Json(json!({ "error": error, "closest": closest }));
            return (StatusCode::NOT_FOUND, body).into_response();
        }
    };
    let shared = Arc::clone(&context.shared);
    upgrade
        .max_message_size(MESSAGE_MAX)
        .max_frame_size(MESSAGE_MAX)
        .on_upgrade(move |socket| serve(socket, asked, shared))
}

fn parse(context: &Context, query: &[(String, String)]) -> Result<Asked, NotFound> {
    let view = context.shared.view.load();
    let mut asked = Asked {
        name: "app".to_owned(),
        source: false,
        destination: false,
        exported: false,
        to: Vec::new(),
        from: Vec::new(),
    };
    let flag = |value: &str| matches!(value, "true" | "1" | "");
    for (key, value) in query {
        match key.as_str() {
            "name" => asked.name = value.chars().filter(|c| !c.is_control()).take(64).collect(),
            "source" => asked.source = flag(value),
            "destination" => asked.destination = flag(value),
            "exported" => asked.exported = flag(value),
            "to" => {
                asked.source = true;
                asked.to.push(resolve(&view.ports, value, Direction::Destination)?);
            }
            "from" if value == "*" => {
                asked.destination = true;
                asked.from.push(Wish::All);
            }
            "from" => {
                asked.destination = true;
                asked.from.push(resolve(&view.ports, value, Direction::Source)?);
            }
            other => {
                let known = ["name", "source", "destination", "exported", "to", "from"];
                return Err(NotFound {
                    error: format!("unknown query key {other:?}; there are {}", known.join(", ")),
                    closest: super::names::closest(known.into_iter(), other),
                });
            }
        }
    }
    Ok(asked)
}

async fn serve(socket: WebSocket, asked: Asked, shared: Arc<Shared>) {
    let (mut sink, mut stream) = futures(socket);
    let (texts, mut outbox) = mpsc::channel::<String>(64);
    let mut opened = Vec::new();
    let ends = match open_ends(&asked, &shared, &mut opened).await {
        Ok(ends) => ends,
        Err(why) => {
            close_ports(&opened, &shared).await;
            let _ = sink.send(json!({ "status": "error", "error": why }).to_string()).await;
            sink.close().await;
            return;
        }
    };
    let name = asked.name.clone();
    let ready = json!({ "status": "ready", "port": name }).to_string();
    let writing = tokio::spawn(async move {
        if !sink.send(ready).await {
            return;
        }
        while let Some(text) = outbox.recv().await {
            if !sink.send(text).await {
                return;
            }
        }
        sink.close().await;
    });
    let listening = ends
        .sink
        .map(|app_sink| tokio::spawn(outgoing::run(app_sink, Arc::clone(&shared), texts.clone())));
    let mut player = ends.source.map(|(opened, app_source)| {
        incoming::Player::new(opened.port, app_source, Arc::clone(&shared))
    });
    loop {
        tokio::select! {
            text = stream.next() => {
                let Some(text) = text else { break };
                if let Some(player) = &mut player {
                    for answer in player.take(&text).await {
                        let _ = texts.send(answer).await;
                    }
                }
            }
            // The program cannot be written to any more: it is gone.
            () = texts.closed() => break,
        }
    }
    if let Some(player) = player {
        player.let_go().await;
    }
    close_ports(&opened, &shared).await;
    if let Some(listening) = listening {
        listening.abort();
    }
    drop(texts);
    writing.abort();
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

/// The two halves of a socket, in terms of text messages.
fn futures(socket: WebSocket) -> (Texts, Incoming) {
    let (commands, from) = mpsc::channel(4);
    let (to, incoming) = mpsc::channel(4);
    tokio::spawn(pump(socket, from, to));
    (Texts(commands), Incoming(incoming))
}

struct Texts(mpsc::Sender<Message>);

impl Texts {
    async fn send(&mut self, text: String) -> bool {
        self.0.send(Message::Text(text.into())).await.is_ok()
    }

    async fn close(&mut self) {
        let _ = self.0.send(Message::Close(None)).await;
    }
}

struct Incoming(mpsc::Receiver<String>);

impl Incoming {
    async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}

/// Moves messages between the socket and its two halves until either side ends. A message is read from
/// the socket only when the one before was taken: that is the back-pressure.
async fn pump(mut socket: WebSocket, mut from: mpsc::Receiver<Message>, to: mpsc::Sender<String>) {
    loop {
        tokio::select! {
            message = from.recv() => match message {
                Some(message) => {
                    let closing = matches!(message, Message::Close(_));
                    if socket.send(message).await.is_err() || closing {
                        return;
                    }
                }
                None => return,
            },
            permit = to.reserve() => {
                let Ok(permit) = permit else { return };
                tokio::select! {
                    biased;
                    message = from.recv() => {
                        let Some(message) = message else { return };
                        let closing = matches!(message, Message::Close(_));
                        if socket.send(message).await.is_err() || closing {
                            return;
                        }
                    }
                    received = socket.recv() => match received {
                        Some(Ok(Message::Text(text))) => permit.send(text.as_str().to_owned()),
                        Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return,
                        Some(Ok(_)) => {}
                    },
                }
            }
        }
    }
}
