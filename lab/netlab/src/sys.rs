//! The system calls the switch needs, each behind a safe function: the only `unsafe` of netlab.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is ours and valid for the call, which only writes it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Makes a TAP interface of that name; the file reads and writes whole Ethernet frames, never blocking.
pub fn open_tap(name: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: `ifreq` is a C struct of numbers and byte arrays, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF takes a pointer to an `ifreq`, which lives through the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) })?;
    Ok(file)
}

/// With `false` the node sees NO-CARRIER, as with an unplugged cable.
pub fn set_carrier(tap: &File, on: bool) -> Result<()> {
    let on: libc::c_int = on.into();
    // SAFETY: TUNSETCARRIER takes a pointer to an int, which lives through the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETCARRIER as _, &on) }).map(drop)
}

/// SCHED_FIFO 70 and all memory locked: needs CAP_SYS_NICE and a cgroup with a real-time budget.
pub fn go_realtime() -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 70 };
    // SAFETY: both calls change only this process; the parameters live through the first.
    unsafe {
        check(libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters))?;
        check(libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE)).map(drop)
    }
}

/// Waits for descriptors and for one point in time. An epoll with a timerfd, because the timeout of
/// `poll` comes up to 50 us late for a process of normal priority.
pub struct Waiter {
    epoll: OwnedFd,
    timer: OwnedFd,
}

/// The tag under which the timer would report itself; it is swallowed.
const TIMER: u64 = u64::MAX;

impl Waiter {
    pub fn new() -> Result<Self> {
        let timer_flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: both calls take plain numbers, and what they return is a new descriptor of ours.
        let (epoll, timer) = unsafe {
            (
                OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?),
                OwnedFd::from_raw_fd(check(libc::timerfd_create(
                    libc::CLOCK_MONOTONIC,
                    timer_flags,
                ))?),
            )
        };
        let waiter = Self { epoll, timer };
        waiter.watch(waiter.timer.as_raw_fd(), TIMER)?;
        Ok(waiter)
    }

    /// From now on [`Waiter::wait`] reports `tag` when `fd` can be read.
    pub fn watch(&self, fd: RawFd, tag: u64) -> Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: tag };
        let (epoll, add) = (self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: `event` lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, add, fd, &mut event) }).map(drop)
    }

    /// Ends the next wait at this time of [`now_ns`].
    pub fn wake_at(&self, at_ns: u64) -> Result<()> {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let at = libc::timespec {
            tv_sec: (at_ns / 1_000_000_000) as i64,
            tv_nsec: (at_ns % 1_000_000_000) as i64,
        };
        let spec = libc::itimerspec { it_interval: zero, it_value: at };
        let (timer, absolute) = (self.timer.as_raw_fd(), libc::TFD_TIMER_ABSTIME);
        // SAFETY: `spec` lives through the call; the old value is not asked for.
        check(unsafe { libc::timerfd_settime(timer, absolute, &spec, std::ptr::null_mut()) })
            .map(drop)
    }

    /// Waits, and puts the tags of what can be read into `ready`.
    pub fn wait(&self, ready: &mut Vec<u64>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
        let (epoll, room) = (self.epoll.as_raw_fd(), events.len() as i32);
        // SAFETY: the kernel writes at most `room` events into the array.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, -1) };
        ready.clear();
        for event in events.iter().take(count.max(0) as usize) {
            let tag = event.u64;
            if tag == TIMER {
                let mut expired = 0_u64;
                // SAFETY: a timerfd yields 8 bytes, for which there is room.
                unsafe { libc::read(self.timer.as_raw_fd(), (&raw mut expired).cast(), 8) };
            } else {
                ready.push(tag);
            }
        }
    }
}

fn check(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}
