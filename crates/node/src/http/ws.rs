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

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use tokio::sync::mpsc;

use super::Context;
use super::problem::{Kind, Problem};
use crate::node::Shared;
use crate::session::asked::Asked;
use crate::session::names::NotFound;
use crate::session::{Session, TEXT_MAX, error};

/// Texts that wait for a program; then what it hears waits, and at last the oldest go.
const TEXTS: usize = 64;

/// Texts that wait to be heard; then the socket is not read.
const TAKEN: usize = 1;

/// App ports for a program: a WebSocket with JSONMIDI both ways, one or more records in a text.
#[utoipa::path(get, path = "/ws", tag = "midi", operation_id = "ws", params(
    ("name" = Option<String>, Query, max_length = 64, description = "The app port's name; `app` when it is left out."),
    ("source" = Option<bool>, Query, description = "The program plays."),
    ("destination" = Option<bool>, Query, description = "The program listens."),
    ("exported" = Option<bool>, Query, description = "Peers may see the port."),
    ("to" = Option<Vec<String>>, Query, description = "Destinations that what it plays goes to."),
    ("from" = Option<Vec<String>>, Query, description = "Sources that it hears; `*`: all."),
), responses(
    (status = 101, description = "A WebSocket from now on."),
    (status = 404, description = "There is no such port or key, or several are meant."),
    (status = 426, description = "The request cannot become a WebSocket."),
))]
pub(super) async fn open(
    State(context): State<Arc<Context>>,
    Query(query): Query<Vec<(String, String)>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let asked = Asked::of_query(&context.shared.view.load().ports, &query);
    let asked = asked.map_err(|NotFound { error, closest }| {
        Problem::new(Kind::NoSuchPort, error).closest(closest)
    })?;
    let shared = Arc::clone(&context.shared);
    Ok(upgrade
        .max_message_size(TEXT_MAX)
        .max_frame_size(TEXT_MAX)
        .on_upgrade(move |socket| serve(socket, asked, shared)))
}

async fn serve(socket: WebSocket, asked: Asked, shared: Arc<Shared>) {
    let (texts, outbox) = mpsc::channel(TEXTS);
    let (taken, mut incoming) = mpsc::channel(TAKEN);
    tokio::spawn(pump(socket, outbox, taken));
    let mut session = match Session::open(&asked, &shared, &texts).await {
        Ok(session) => session,
        Err(why) => {
            let _ = texts.send(error(&why)).await;
            return;
        }
    };
    session.serve(&mut incoming).await;
    session.close().await;
}

/// Moves texts between the socket and its two halves until either side ends; when there is nobody left who
/// could send any, the socket is closed. A text is read from the socket only when the one before was taken:
/// that is the back-pressure.
async fn pump(mut socket: WebSocket, mut from: mpsc::Receiver<String>, to: mpsc::Sender<String>) {
    loop {
        tokio::select! {
            text = from.recv() => if !pass(&mut socket, text).await { return },
            permit = to.reserve() => {
                let Ok(permit) = permit else { return rest(&mut socket, &mut from).await };
                tokio::select! {
                    biased;
                    text = from.recv() => if !pass(&mut socket, text).await { return },
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

/// Sends a text, or closes the socket when there will be none; whether there may be more.
async fn pass(socket: &mut WebSocket, text: Option<String>) -> bool {
    let more = text.is_some();
    let message = text.map_or(Message::Close(None), |text| Message::Text(text.into()));
    socket.send(message).await.is_ok() && more
}

/// Nobody takes texts any more; the last ones still go out.
async fn rest(socket: &mut WebSocket, from: &mut mpsc::Receiver<String>) {
    loop {
        let text = from.recv().await;
        if !pass(socket, text).await {
            return;
        }
    }
}
