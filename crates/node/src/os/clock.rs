//! This machine's monotonic clock.

use midip2p_proto::time::LocalTime;

/// The moment now, from `CLOCK_MONOTONIC`: all processes of one machine share its origin.
///
/// Realtime-safe: yes (vDSO, no system call)
#[cfg(unix)]
#[must_use]
pub fn now() -> LocalTime {
    use nix::time::{ClockId, clock_gettime};
    // The call fails for unknown clocks only, and every Unix has this one.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(LocalTime::ZERO, |t| {
        LocalTime::from_ns(t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()))
    })
}

/// The moment now, counted from the first call.
#[cfg(not(unix))]
#[must_use]
pub fn now() -> LocalTime {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let since = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
    LocalTime::from_ns(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
