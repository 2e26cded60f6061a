//! A program on a node, over TOAST or over a WebSocket: to the node both are the same.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;

use midip2p::node::Node;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::Client;
use crate::nodes::DEADLINE;

/// How a program reaches its node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Toast,
    WebSocket,
}

pub(crate) enum Program {
    Toast(Client),
    WebSocket(Socket),
}

impl Program {
    /// A program that plays from a port "Dumps".
    pub(crate) async fn start(by: By, node: &Node) -> Self {
        let mut program = match by {
            By::Toast => {
                let mut client = Client::join(node).await;
                client
                    .say(b"{\"command\":\"open\",\"name\":\"Dumps\",\"source\":true,\"exported\":true}\n")
                    .await;
                Self::Toast(client)
            }
            By::WebSocket => Self::WebSocket(Socket::open(node)),
        };
        assert_eq!(program.word().await["status"], "ready");
        program
    }

    /// Says lines, each of them by itself.
    pub(crate) async fn say(&mut self, lines: &[&str]) {
        match self {
            Self::Toast(client) => {
                let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
                for part in text.as_bytes().chunks(60_000) {
                    client.say(part).await;
                }
            }
            Self::WebSocket(socket) => {
                lines.iter().for_each(|line| socket.say.send((*line).to_owned()).unwrap());
            }
        }
    }

    pub(crate) async fn word(&mut self) -> Value {
        match self {
            Self::Toast(client) => client.word().await,
            Self::WebSocket(socket) => {
                let word = tokio::time::timeout(DEADLINE, socket.words.recv()).await;
                word.expect("the node says something").expect("it goes on")
            }
        }
    }
}

/// A WebSocket; the node runs on the thread of the test, so it has threads of its own.
pub(crate) struct Socket {
    say: mpsc::Sender<String>,
    words: UnboundedReceiver<Value>,
    end: TcpStream,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.end.shutdown(Shutdown::Both);
    }
}

impl Socket {
    fn open(node: &Node) -> Self {
        let at = node.info().http;
        let token = std::fs::read_to_string(node.info().state.join("token")).unwrap();
        let stream = TcpStream::connect(at).unwrap();
        let end = stream.try_clone().unwrap();
        let (said, words) = unbounded_channel();
        let (say, to_say) = mpsc::channel::<String>();
        thread::spawn(move || {
            let writing = stream.try_clone().unwrap();
            let url = format!("ws://{at}/ws?name=Dumps&source=true&exported=true");
            let mut asked = url.into_client_request().unwrap();
            let shown = format!("Bearer {}", token.trim()).parse().unwrap();
            asked.headers_mut().insert("Authorization", shown);
            let (mut reader, _) = tungstenite::client(asked, stream).unwrap();
            thread::spawn(move || {
                let mut writer = WebSocket::from_raw_socket(writing, Role::Client, None);
                while let Ok(text) = to_say.recv() {
                    if writer.send(Message::text(text)).is_err() {
                        return;
                    }
                }
            });
            while let Ok(message) = reader.read() {
                if let Message::Text(text) = message {
                    let _ = said.send(serde_json::from_str(text.as_str()).unwrap());
                }
            }
        });
        Self { say, words, end }
    }
}
