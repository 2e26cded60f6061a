//! A client that says whatever a test wants.

use midip2p::crypto::{NodeKey, Security};
use midip2p::node::Node;
use midip2p::transport::Stream;
use midip2p_proto::id::{BootId, LinkId};
use midip2p_proto::wire::hello::JSON_ONLY;
use midip2p_proto::wire::{
    Bye, FrameDecoder, FrameEvent, Hello, JsonMidi, MIN_VERSION, Message, PROTOCOL_VERSION, frame,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::nodes::DEADLINE;

pub(crate) mod program;

/// A peer that has said hello.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    decoder: FrameDecoder,
    sequence: u32,
    /// The text that came and was not looked at yet.
    text: Vec<u8>,
}

/// What came.
enum Came {
    Text(Vec<u8>),
    Bye(Bye),
    Else,
    End,
}

impl Client {
    pub(crate) async fn join(node: &Node) -> Self {
        Self::join_as(node, JSON_ONLY).await
    }

    /// A peer with these features: a client comes by the socket of the node's user, any other proves who it is.
    pub(crate) async fn join_as(node: &Node, features: u64) -> Self {
        let key = NodeKey::of([7; 32]).unwrap();
        let stream: Box<dyn Stream> = if features & JSON_ONLY == 0 {
            let stream = TcpStream::connect(("127.0.0.1", node.info().tcp_port)).await.unwrap();
            let security = Security::new(&key, None).unwrap();
            security.connect(Box::new(stream)).await.unwrap().stream
        } else {
            let socket = node.info().socket.as_ref().unwrap();
            Box::new(UnixStream::connect(socket).await.unwrap())
        };
        let decoder = FrameDecoder::new();
        let mut client = Self { stream, decoder, sequence: 0, text: Vec::new() };
        client
            .send(&Message::Hello(Hello {
                version_min: MIN_VERSION,
                version_max: PROTOCOL_VERSION,
                features,
                node: key.id(),
                boot: BootId(1),
                link: LinkId(0),
                udp_port: 0,
                tcp_port: 0,
                name: "test".into(),
                domains: vec![],
                peers: vec![],
                living: None,
            }))
            .await;
        client
    }

    async fn send(&mut self, message: &Message<'_>) {
        self.sequence += 1;
        let mut bytes = Vec::new();
        frame::encode_message(message, 0, self.sequence, &mut bytes).unwrap();
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(DEADLINE, sent).await.expect("the node reads").unwrap();
    }

    /// Sends one frame of text.
    pub(crate) async fn say(&mut self, part: &[u8]) {
        self.send(&Message::JsonMidi(JsonMidi { part })).await;
    }

    /// The next line of the node.
    pub(crate) async fn word(&mut self) -> Value {
        loop {
            if let Some(end) = self.text.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            match self.came().await {
                Came::Text(part) => self.text.extend(part),
                Came::Bye(bye) => panic!("it ended: {bye:?}"),
                Came::End => panic!("it ended"),
                Came::Else => {}
            }
        }
    }

    /// The bye of the node, after which it ends the connection.
    pub(crate) async fn bye(&mut self) -> Bye {
        loop {
            match self.came().await {
                Came::Bye(bye) => {
                    assert!(matches!(self.came().await, Came::End), "the last frame");
                    return bye;
                }
                Came::End => panic!("it ended without a word"),
                _ => {}
            }
        }
    }

    async fn came(&mut self) -> Came {
        loop {
            match self.decoder.next() {
                Some(FrameEvent::Frame(frame)) => {
                    let message = Message::decode(frame.kind, frame.payload).unwrap();
                    return match message {
                        Some(Message::JsonMidi(text)) => Came::Text(text.part.to_vec()),
                        Some(Message::Bye(bye)) => Came::Bye(bye),
                        _ => Came::Else,
                    };
                }
                Some(other) => panic!("no frame: {other:?}"),
                None => {}
            }
            let mut buf = [0; 4096];
            let read = tokio::time::timeout(DEADLINE, self.stream.read(&mut buf));
            match read.await.expect("the node says something") {
                Ok(length @ 1..) => assert_eq!(self.decoder.feed(&buf[..length]), length),
                _ => return Came::End,
            }
        }
    }
}
