//! Whatever a stream holds comes out the same however it is cut; whatever message is in it is refused
//! or read, and what is read is written again, and reads the same.
//!
//! Streams are tried as they come, and once more with every CRC put right, so that what stands behind
//! it is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use midip2p_proto::wire::frame::{LENGTH_MIN, encode_message};
use midip2p_proto::wire::{
    FrameDecoder, FrameEvent, Hello, Message, PAYLOAD_MAX, SkipReason, split,
};

#[derive(Debug, PartialEq)]
enum Got {
    Frame(u32, u64, u32, Vec<u8>),
    Skipped(SkipReason),
    Broken(u32),
}

fn decode(mut bytes: &[u8], piece: usize) -> Vec<Got> {
    let mut decoder = FrameDecoder::new();
    let mut got = Vec::new();
    while !bytes.is_empty() {
        let taken = decoder.feed(&bytes[..piece.min(bytes.len())]);
        assert!(taken > 0);
        bytes = &bytes[taken..];
        while let Some(event) = decoder.next() {
            got.push(match event {
                FrameEvent::Frame(f) => {
                    Got::Frame(f.kind, f.mesh_us, f.sequence, f.payload.to_vec())
                }
                FrameEvent::Skipped { reason } => Got::Skipped(reason),
                FrameEvent::Broken { length } => Got::Broken(length),
            });
        }
    }
    got
}

/// Puts the CRC of every whole frame right.
fn mend(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(length) = rest.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) {
        let whole = 4 + usize::try_from(length).unwrap();
        if length < LENGTH_MIN || whole > rest.len() {
            return;
        }
        let (frame, after) = rest.split_at_mut(whole);
        let (covered, crc) = frame.split_last_chunk_mut().unwrap();
        *crc = crc32fast::hash(covered).to_be_bytes();
        rest = after;
    }
}

/// Reads a payload as the message of its type, writes it into a frame and reads that.
fn there_and_back(kind: u32, mesh_us: u64, sequence: u32, payload: &[u8]) {
    let Ok(Some(message)) = Message::decode(kind, payload) else { return };
    let mut bytes = Vec::new();
    encode_message(&message, mesh_us, sequence, &mut bytes).unwrap();
    let got = decode(&bytes, bytes.len());
    let [Got::Frame(kind_again, mesh_again, sequence_again, payload_again)] = &got[..] else {
        panic!("one frame went in, {got:?} came out")
    };
    assert_eq!((*kind_again, *mesh_again, *sequence_again), (kind, mesh_us, sequence));
    assert_eq!(payload_again.len(), message.encoded_len());
    assert!(payload_again.len() <= PAYLOAD_MAX);
    assert_eq!(Message::decode(kind, payload_again), Ok(Some(message.clone())));
    if let Message::Hello(hello) = &message {
        assert_eq!(Hello::versions(payload), Ok((hello.version_min, hello.version_max)));
    }
    if let Message::Datagram(carried) = &message {
        assert_eq!(carried.datagram, payload);
        assert!(split(&mut carried.datagram.to_vec()).is_ok());
    }
}

fuzz_target!(|data: &[u8]| {
    let mut stream = data.to_vec();
    for mended in [false, true] {
        if mended {
            mend(&mut stream);
        }
        let got = decode(&stream, stream.len());
        for piece in [1, 7, 21] {
            assert_eq!(decode(&stream, piece), got);
        }
        for event in got {
            if let Got::Frame(kind, mesh_us, sequence, payload) = event {
                there_and_back(kind, mesh_us, sequence, &payload);
            }
        }
    }
});
