//! For tests: a node that does what a test says, and a Ctrl-C that nobody pressed.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use tungstenite::{Message, WebSocket};

use super::client::Client;
use super::inbox::Input;
use super::way::Way;

/// The node's side of a connection.
pub(super) struct FakeNode(WebSocket<TcpStream>);

impl FakeNode {
    /// Takes one connection, and plays the node on a thread; what it gives can be joined.
    pub(super) fn start<T: Send + 'static>(
        play: impl FnOnce(Self) -> T + Send + 'static,
    ) -> (Client, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = Client::by("fake", at.to_string(), Way::Network(at));
        let node = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            play(Self(tungstenite::accept(stream).unwrap()))
        });
        (client, node)
    }

    pub(super) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next text; `None` when the connection is over.
    pub(super) fn hear(&mut self) -> Option<String> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Something that can act as if a signal had come.
#[derive(Clone)]
pub(super) struct Fingers {
    pub(super) flag: Arc<AtomicU8>,
    pub(super) inbox: SyncSender<Input>,
}

impl Fingers {
    pub(super) fn press_ctrl_c(&self) {
        self.flag.store(2, Ordering::Relaxed);
        let _ = self.inbox.try_send(Input::Signal);
    }
}
