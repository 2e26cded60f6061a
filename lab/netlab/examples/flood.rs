//! Floods a node on 127.0.0.1 with datagrams that are none of its peer's, faster than Python can.
//!   flood PORT SECONDS RATE         RATE datagrams a second to UDP port PORT
//! For its first half second it listens to what the real peer sends there (a packet socket, needs root);
//! then it sends, in turns: what it heard again, from its own address and from the peer's; the same with
//! another counter, a changed body, a random tag, or cut off; other links' ids; random bytes. What it
//! cannot do without keys is a good tag: a link whose tag is a mere CRC cannot tell such a forgery.
//! Prints how many it sent, by kind, and the rate.
use std::mem::{size_of, zeroed};
use std::time::Duration;

const KINDS: [&str; 8] = [
    "replayed",
    "replayed from the peer's address",
    "another counter",
    "a changed body",
    "a random tag",
    "cut off",
    "another link",
    "random",
];
/// Kinds that come from the peer's own address, which takes a raw socket.
const SPOOFED: [bool; 8] = [false, true, true, true, true, false, false, false];
/// Datagrams of one call.
const BATCH: usize = 100;
/// What the headers of IPv4 and UDP take.
const HEADERS: usize = 28;

fn now() -> u64 {
    // SAFETY: `t` is ours and valid for the call, which only writes it.
    unsafe {
        let mut t: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t);
        t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
    }
}

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|b| *b = self.next() as u8);
    }
}

fn open(domain: i32, kind: i32, protocol: i32) -> i32 {
    // SAFETY: plain numbers; the descriptor is checked.
    let fd = unsafe { libc::socket(domain, kind, protocol) };
    assert!(fd >= 0, "no socket: {}", std::io::Error::last_os_error());
    fd
}

/// What the peer sends to `port` within half a second: (its port, the datagram).
fn listen(port: u16) -> Vec<(u16, Vec<u8>)> {
    let protocol = i32::from((libc::ETH_P_IP as u16).to_be());
    let fd = open(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, protocol);
    let (end, mut heard, mut frame) = (now() + 500_000_000, vec![], [0_u8; 2048]);
    while now() < end && heard.len() < 4096 {
        // SAFETY: the buffer is ours and its length is told.
        let read = unsafe { libc::recv(fd, frame.as_mut_ptr().cast(), frame.len(), 0) };
        let Ok(length) = usize::try_from(read) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let packet = &frame[..length];
        let is_ours = length > HEADERS + 32
            && packet[0] == 0x45
            && packet[9] == 17
            && packet[22..24] == port.to_be_bytes();
        if is_ours {
            let from = u16::from_be_bytes([packet[20], packet[21]]);
            heard.push((from, packet[HEADERS..].to_vec()));
        }
    }
    // SAFETY: ours, and not used again.
    unsafe { libc::close(fd) };
    heard
}

/// A datagram of that kind, with room for headers before it.
fn datagram(kind: usize, heard: &[(u16, Vec<u8>)], port: u16, rng: &mut Rng) -> Vec<u8> {
    let (from, real) = &heard[rng.next() as usize % heard.len()];
    let mut data = real.clone();
    let end = data.len();
    match kind {
        2 => data[8..16].copy_from_slice(&(rng.next() >> 20).to_be_bytes()),
        3 => data[16 + rng.next() as usize % (end - 32)] ^= 1 << (rng.next() % 8),
        4 => rng.fill(&mut data[end - 16..]),
        5 => data.truncate(rng.next() as usize % end),
        6 => rng.fill(&mut data[4..8]),
        7 => {
            data.resize(1 + rng.next() as usize % 400, 0);
            rng.fill(&mut data);
        }
        _ => {}
    }
    let mut packet = vec![0; HEADERS];
    packet[0] = 0x45;
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..20].copy_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
    packet[20..22].copy_from_slice(&from.to_be_bytes());
    packet[22..24].copy_from_slice(&port.to_be_bytes());
    packet[24..26].copy_from_slice(&((8 + data.len()) as u16).to_be_bytes());
    packet.extend(data);
    packet
}

/// Sends them in one call, without the headers where the kernel makes them.
fn send(fd: i32, port: u16, skip: usize, packets: &[Vec<u8>]) -> usize {
    // SAFETY: C structs of numbers and pointers, for which all zeroes is a value; what they point to
    // lives through the call.
    unsafe {
        let mut to: libc::sockaddr_in = zeroed();
        to.sin_family = libc::AF_INET as u16;
        to.sin_port = port.to_be();
        to.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut parts: Vec<libc::iovec> = packets
            .iter()
            .map(|p| libc::iovec {
                iov_base: p[skip..].as_ptr().cast_mut().cast(),
                iov_len: p.len() - skip,
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = (0..packets.len())
            .map(|i| {
                let mut m: libc::mmsghdr = zeroed();
                m.msg_hdr.msg_name = (&raw mut to).cast();
                m.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
                m.msg_hdr.msg_iov = &mut parts[i];
                m.msg_hdr.msg_iovlen = 1;
                m
            })
            .collect();
        let sent = libc::sendmmsg(fd, messages.as_mut_ptr(), messages.len() as u32, 0);
        usize::try_from(sent).unwrap_or(0)
    }
}

fn main() {
    let n: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().expect("a number")).collect();
    let [port, seconds, rate] = n[..] else { panic!("flood PORT SECONDS RATE") };
    let port = port as u16;
    let heard = listen(port);
    assert!(!heard.is_empty(), "nobody sends to port {port}");
    let mut rng = Rng(7);
    let plain = open(libc::AF_INET, libc::SOCK_DGRAM, 0);
    let raw = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW);
    // Made before, so that sending is all that is left to do.
    let batches: Vec<(usize, Vec<Vec<u8>>)> = (0..KINDS.len() * 50)
        .map(|i| (i % KINDS.len(), i % KINDS.len()))
        .map(|(i, kind)| (i, (0..BATCH).map(|_| datagram(kind, &heard, port, &mut rng)).collect()))
        .collect();
    let (began, mut sent, mut at) = (now(), [0_usize; KINDS.len()], 0);
    let end = began + seconds * 1_000_000_000;
    while now() < end {
        let due = (now() - began) as u128 * u128::from(rate) / 1_000_000_000;
        if sent.iter().sum::<usize>() as u128 >= due {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let (kind, packets) = &batches[at % batches.len()];
        let (fd, skip) = if SPOOFED[*kind] { (raw, 0) } else { (plain, HEADERS) };
        sent[*kind] += send(fd, port, skip, packets);
        at += 1;
    }
    let took = (now() - began) as f64 / 1e9;
    println!("{} datagrams of the peer were heard", heard.len());
    for (kind, count) in KINDS.iter().zip(sent) {
        println!("{count:8} {kind}");
    }
    let all = sent.iter().sum::<usize>();
    println!("{all:8} in {took:.2} s, {:.0} a second", all as f64 / took);
}
