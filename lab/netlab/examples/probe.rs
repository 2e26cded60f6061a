//! UDP probe for netlab. All nodes share one CLOCK_MONOTONIC, so one-way delay is exact.
//!   probe recv PORT SECONDS             prints loss, duplicates, reordering, one-way delay
//!   probe send IP PORT COUNT GAP_US     numbered, timestamped 48-byte datagrams
//!   probe echo PORT SECONDS
//!   probe ping IP PORT COUNT            ping-pong round trips, one at a time
use std::net::UdpSocket;
use std::time::Duration;

fn now() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
fn sleep_until(t: u64) {
    let ts =
        libc::timespec { tv_sec: (t / 1_000_000_000) as i64, tv_nsec: (t % 1_000_000_000) as i64 };
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &ts, std::ptr::null_mut())
    };
}
fn show(label: &str, mut v: Vec<f64>) {
    v.sort_by(f64::total_cmp);
    if v.is_empty() {
        return println!("{label}: none");
    }
    let q = |p: f64| v[((v.len() - 1) as f64 * p) as usize];
    let mean = v.iter().sum::<f64>() / v.len() as f64;
    let sd = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt();
    println!(
        "{label} us: min {:.1} p50 {:.1} p90 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} mean {mean:.1} sd {sd:.1}",
        q(0.0),
        q(0.5),
        q(0.9),
        q(0.99),
        q(0.999),
        q(1.0)
    );
}
fn main() -> std::io::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let n = |i: usize| a[i].parse::<u64>().expect("number");
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    match a[1].as_str() {
        "recv" => {
            let s = UdpSocket::bind(format!("[::]:{}", a[2]))?;
            s.set_read_timeout(Some(Duration::from_millis(100)))?;
            let end = now() + n(3) * 1_000_000_000;
            let (mut b, mut got, mut delays) = ([0u8; 2048], Vec::<u64>::new(), vec![]);
            while now() < end {
                if let Ok(l) = s.recv(&mut b) {
                    let t = now();
                    if l >= 16 {
                        got.push(u64::from_le_bytes(b[..8].try_into().unwrap()));
                        delays.push(
                            (t - u64::from_le_bytes(b[8..16].try_into().unwrap())) as f64 / 1e3,
                        );
                    }
                }
            }
            let (mut seen, mut dup, mut late, mut top) =
                (std::collections::HashSet::new(), 0, 0, 0);
            for &g in &got {
                if !seen.insert(g) {
                    dup += 1;
                } else if g < top {
                    late += 1;
                }
                top = top.max(g);
            }
            let mut runs = vec![];
            let mut run = 0;
            for i in 0..=top {
                if seen.contains(&i) {
                    if run > 0 {
                        runs.push(run);
                    }
                    run = 0;
                } else {
                    run += 1;
                }
            }
            let lost = top + 1 - seen.len() as u64;
            println!(
                "up to seq {top}: distinct {} lost {lost} ({:.2}%) dup {dup} out-of-order {late} loss-runs {} mean-run {:.2}",
                seen.len(),
                100.0 * lost as f64 / (top + 1) as f64,
                runs.len(),
                lost as f64 / runs.len().max(1) as f64
            );
            show("one-way", delays);
        }
        "send" => {
            let s = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
            let ip: std::net::IpAddr = a[2].parse().expect("address");
            let to = match ip {
                std::net::IpAddr::V4(v) => std::net::IpAddr::V6(v.to_ipv6_mapped()),
                v6 => v6,
            };
            let mut next = now();
            for i in 0..n(4) {
                let mut m = [0u8; 48];
                m[..8].copy_from_slice(&i.to_le_bytes());
                m[8..16].copy_from_slice(&now().to_le_bytes());
                let _ = s.send_to(&m, (to, n(3) as u16));
                next += n(5) * 1000;
                sleep_until(next);
            }
        }
        "echo" => {
            let s = UdpSocket::bind(format!("[::]:{}", a[2]))?;
            s.set_read_timeout(Some(Duration::from_millis(100)))?;
            let end = now() + n(3) * 1_000_000_000;
            let mut b = [0u8; 2048];
            while now() < end {
                if let Ok((l, from)) = s.recv_from(&mut b) {
                    s.send_to(&b[..l], from)?;
                }
            }
        }
        "ping" => {
            let s = UdpSocket::bind("0.0.0.0:0")?;
            s.connect((a[2].as_str(), n(3) as u16))?;
            s.set_read_timeout(Some(Duration::from_millis(500)))?;
            let (mut b, mut v) = ([0u8; 64], vec![]);
            for _ in 0..n(4) {
                let t = now();
                s.send(&[0; 48])?;
                if s.recv(&mut b).is_ok() {
                    v.push((now() - t) as f64 / 1e3);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            show("round trip", v);
        }
        _ => panic!("recv, send, echo or ping"),
    }
    Ok(())
}
