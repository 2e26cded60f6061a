//! The figures, and the notes that are played for them.

use std::time::Duration;

use midip2p_midi::Ump;
use serde_json::{Value, json};

/// Median, 99th percentile and maximum, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) p50: f64,
    /// Of fewer than a hundred samples it would be their maximum.
    pub(super) p99: Option<f64>,
    pub(super) max: f64,
}

impl Figures {
    /// Of samples in µs.
    pub(super) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).max(1);
            samples.get(rank - 1).copied().unwrap_or_default()
        };
        let p99 = (samples.len() >= 100).then(|| at(99));
        Self { p50: at(50), p99, max: at(100) }
    }

    pub(super) fn json(self) -> Value {
        json!({ "p50": self.p50, "p99": self.p99, "max": self.max })
    }
}

/// The event of this number: on and off by turns, key by key.
pub(super) fn event(number: u64) -> Ump {
    let byte = |value: u64| u8::try_from(value).unwrap_or(0);
    let (pair, off) = (number / 2, number % 2 == 1);
    let status = if off { 0x80 } else { 0x90 };
    Ump::midi1(0, status, byte(pair % 128), byte(1 + pair / 128 % 127))
}

/// CPU time that this process has used; `None` where that cannot be known.
pub(super) fn cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let time = |time: nix::sys::time::TimeVal| {
            let (s, us) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_usec()).ok()?);
            Some(Duration::from_secs(s) + Duration::from_micros(us))
        };
        Some(time(usage.user_time())? + time(usage.system_time())?)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_ranks() {
        let samples = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Figures::of(samples), Figures { p50: 100.0, p99: Some(198.0), max: 200.0 });
        assert_eq!(Figures::of(vec![3.0]), Figures { p50: 3.0, p99: None, max: 3.0 });
        assert_eq!(Figures::of(vec![]), Figures::default());
    }

    #[test]
    fn a_note_is_off_before_it_is_on_again() {
        let mut sounding = std::collections::BTreeSet::new();
        for number in 0..40_000 {
            let [_, status, key, _] = event(number).words()[0].to_be_bytes();
            assert!(if status == 0x90 { sounding.insert(key) } else { sounding.remove(&key) });
        }
        assert!(sounding.is_empty());
    }
}
