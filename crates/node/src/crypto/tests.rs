//! Handshakes over streams in memory, and what their keys do to datagrams.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn key(seed: u8) -> NodeKey {
    NodeKey::of([seed; 32]).unwrap()
}

fn security(seed: u8) -> Security {
    Security::new(&key(seed), None).unwrap()
}

/// Both ends of a handshake.
async fn shake(a: u8, b: u8) -> (Secured, Secured) {
    let (near, far) = duplex(1 << 16);
    let (a, b) = (security(a), security(b));
    let (a, b) = tokio::join!(a.connect(Box::new(near)), b.accept(Box::new(far)));
    (a.unwrap(), b.unwrap())
}

#[test]
fn the_id_is_the_public_key() {
    // RFC 8032 § 7.1, test 2.
    let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    let id = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let seed = seed.parse::<NodeId>().unwrap().0;
    assert_eq!(NodeKey::of(seed).unwrap().id().to_string(), id);
}

#[test]
fn a_certificate_says_the_key_and_no_name() {
    let certificate = certificate(&key(7)).unwrap();
    assert_eq!(node_of(&certificate).unwrap(), key(7).id());
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let said = String::from_utf8_lossy(&certificate).into_owned();
    assert!(host.is_empty() || !said.contains(&host));
    // Each byte of it damaged: another key, or none, and never a panic.
    for byte in 0..certificate.len() {
        let mut damaged = certificate.to_vec();
        damaged[byte] ^= 0x55;
        let _ = node_of(&damaged.into());
    }
}

#[tokio::test]
async fn both_ends_see_whose_the_other_is_and_talk() {
    let (mut a, mut b) = shake(1, 2).await;
    assert_eq!((a.proof, b.proof), (Proof::Key(key(2).id()), Proof::Key(key(1).id())));
    a.stream.write_all(b"note-on C4").await.unwrap();
    a.stream.flush().await.unwrap();
    let mut came = [0; 10];
    b.stream.read_exact(&mut came).await.unwrap();
    assert_eq!(&came, b"note-on C4");
}

#[tokio::test]
async fn datagrams_are_opened_by_the_other_end_as_they_left_and_by_nobody_else() {
    let ((a, b), (c, d)) = (shake(1, 2).await, shake(1, 2).await);
    let [mut a, mut b, mut c, mut d] = [a, b, c, d].map(|end| end.seal.unwrap());
    let header = [7; HEADER_LEN];
    let plain = *b"note-on C4";
    for (dialler, second) in [(true, false), (false, false), (true, true), (false, true)] {
        let ((own, peer), others) = match (dialler, second) {
            (true, false) => ((&mut a, &mut b), [&mut c, &mut d]),
            (false, false) => ((&mut b, &mut a), [&mut c, &mut d]),
            (true, true) => ((&mut c, &mut d), [&mut a, &mut b]),
            (false, true) => ((&mut d, &mut c), [&mut a, &mut b]),
        };
        let mut sealed = plain;
        let tag = own.seal(&header, 0, 5, &mut sealed);
        assert_ne!(sealed, plain);
        let mut opened = sealed;
        assert!(peer.open(&header, 0, 5, &mut opened, &tag));
        assert_eq!(opened, plain);
        // The same counter in another epoch, another counter, another link, the way back.
        for (epoch, counter) in [(1, 5), (0, 6), (0, 5 << 8)] {
            assert!(!peer.open(&header, epoch, counter, &mut sealed.clone(), &tag));
        }
        for other in others {
            assert!(!other.open(&header, 0, 5, &mut sealed.clone(), &tag));
        }
        assert!(!own.open(&header, 0, 5, &mut sealed.clone(), &tag));
        let bits = 8 * (header.len() + sealed.len() + tag.len());
        for bit in 0..bits {
            let mut whole = [&header[..], &sealed, &tag].concat();
            whole[bit / 8] ^= 1 << (bit % 8);
            let (header, rest) = whole.split_first_chunk_mut().unwrap();
            let (body, tag) = rest.split_last_chunk_mut().unwrap();
            assert!(!peer.open(header, 0, 5, body, tag), "bit {bit}");
        }
    }
    // The same words, the same header: what leaves is never the same twice.
    let sealed: std::collections::BTreeSet<_> = (0..100)
        .map(|counter| {
            let mut body = plain;
            (a.seal(&header, 0, counter, &mut body), body)
        })
        .collect();
    assert_eq!(sealed.len(), 100);
}

#[tokio::test]
async fn a_frame_instead_of_a_handshake_proves_nothing_and_is_all_there() {
    let (mut near, far) = duplex(1 << 16);
    near.write_all(&[0, 0, 0, 28, 1]).await.unwrap();
    let mut secured = security(1).accept(Box::new(far)).await.unwrap();
    assert_eq!(secured.proof, Proof::None);
    assert!(secured.seal.is_none());
    let mut came = [0; 5];
    secured.stream.read_exact(&mut came).await.unwrap();
    assert_eq!(came, [0, 0, 0, 28, 1]);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_silent_is_let_go() {
    let (_near, far) = duplex(64);
    let error = security(1).accept(Box::new(far)).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let (near, _far) = duplex(64);
    let error = security(1).connect(Box::new(near)).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

/// Passes bytes on in one direction, and damages one of them.
struct Damages {
    stream: DuplexStream,
    read: Arc<AtomicUsize>,
    at: usize,
}

impl AsyncRead for Damages {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = std::pin::Pin::new(&mut self.stream).poll_read(context, buf);
        let came = buf.filled().len() - before;
        let read = self.read.fetch_add(came, Relaxed);
        if let Some(place) = self.at.checked_sub(read).filter(|place| *place < came) {
            buf.filled_mut()[before + place] ^= 1;
        }
        polled
    }
}

impl AsyncWrite for Damages {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Stream for Damages {}

#[tokio::test(start_paused = true)]
async fn whatever_byte_somebody_changes_on_the_way_nothing_false_comes_through() {
    let text = b"note-on C4";
    let mut harmless = 0;
    for at in 0..2_000 {
        let (near, far) = duplex(1 << 16);
        let read = Arc::<AtomicUsize>::default();
        let far = Damages { stream: far, read: Arc::clone(&read), at };
        let (a, b) = (security(1), security(2));
        let dialler = async {
            let mut secured = a.connect(Box::new(near)).await?;
            secured.stream.write_all(text).await?;
            secured.stream.flush().await?;
            Ok::<_, io::Error>(secured)
        };
        let dialled = async {
            let mut secured = b.accept(Box::new(far)).await?;
            let mut came = [0; 10];
            match secured.proof {
                Proof::Key(node) => assert_eq!(node, key(1).id(), "byte {at}"),
                // The first byte: it does not look like a handshake any more.
                proof => assert_eq!((proof, at), (Proof::None, 0)),
            }
            // A length that says more is waited for.
            in_time(secured.stream.read_exact(&mut came)).await?;
            Ok::<_, io::Error>((secured.proof, came, secured))
        };
        let (sent, came) = tokio::join!(dialler, dialled);
        match came {
            Ok((Proof::None, ..)) => assert!(at == 0 && sent.is_err()),
            Ok((_, came, _)) => {
                assert_eq!(&came, text, "byte {at}");
                if at >= read.load(Relaxed) {
                    // Behind the end of what was sent. Each record names a version that nobody reads.
                    assert!(at > 500 && harmless <= 10, "{at} bytes, {harmless} harmless");
                    return;
                }
                harmless += 1;
            }
            Err(_) => {}
        }
    }
    panic!("it never came through");
}
