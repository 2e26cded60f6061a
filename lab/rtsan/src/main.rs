#![feature(sanitize)]
use std::sync::Mutex;
static M: Mutex<u32> = Mutex::new(0);
#[sanitize(realtime = "nonblocking")]
#[inline(never)]
fn process(what: &str, out: &mut [f32]) -> usize {
    match what {
        "ok" => {
            for o in out.iter_mut() {
                *o *= 0.5;
            }
            out.len()
        }
        "malloc" => std::hint::black_box(vec![1u8; 100]).len(),
        "lock" => {
            *M.lock().unwrap() += 1;
            1
        }
        "print" => {
            println!("hello");
            1
        }
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_millis(1));
            1
        }
        "clock" => std::time::Instant::now().elapsed().subsec_nanos() as usize,
        _ => 0,
    }
}
fn main() {
    let w = std::env::args().nth(1).unwrap();
    let mut b = [1.0; 16];
    if w == "lock-contended" {
        let g = M.lock().unwrap();
        let h = std::thread::spawn(|| process("lock", &mut [0.0; 4]));
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(g);
        h.join().unwrap();
    } else {
        process(&w, &mut b);
    }
    eprintln!("finished {w}");
}
