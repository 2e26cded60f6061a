//! How a path behaves, and the paths that have names.

use midip2p_proto::time::Span;

use super::chance::Jitter;

/// How a path behaves, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The least that anything takes, one way.
    pub delay: Span,
    /// What is added to it: what is sent later may come first.
    pub jitter: Jitter,
    /// Datagrams lost alone, in a million.
    pub loss_ppm: u64,
    /// Times in which everything is lost: mean time between them, mean length (Gilbert's model).
    pub bursts: Option<(Span, Span)>,
    /// Datagrams that are held up beside the jitter, in a million, and for how long: what is sent
    /// meanwhile overtakes them.
    pub held_up: (u64, Span),
    /// Datagrams that come twice, in a million.
    pub twice_ppm: u64,
    /// Datagrams of which a bit is turned over, in a million.
    pub damage_ppm: u64,
    /// The narrowest place, if there is one that matters.
    pub bottleneck: Option<Bottleneck>,
    /// What a stream carries, in bytes a second, where there is no bottleneck.
    pub stream_rate: i64,
}

/// A narrow place with a queue before it. What does not fit is dropped at the queue's tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bottleneck {
    /// Bits a second, the headers of IP and UDP (28 bytes a datagram) among them.
    pub bits_per_s: i64,
    /// The longest that a datagram waits in the queue.
    pub queue: Span,
}

impl Path {
    /// The path of that name: `wired`, `wifi`, `wifi_lossy`, `mobile` or `transatlantic`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::PRESETS.iter().find(|(n, _)| *n == name).map(|(_, path)| *path)
    }

    /// The paths that have names.
    pub const PRESETS: [(&'static str, Self); 5] = [
        ("wired", Self::wired()),
        ("wifi", Self::wifi()),
        ("wifi_lossy", Self::wifi_lossy()),
        ("mobile", Self::mobile()),
        ("transatlantic", Self::transatlantic()),
    ];

    /// Gigabit Ethernet in one room: a switch or two, and the interrupts of two machines.
    #[must_use]
    pub const fn wired() -> Self {
        Self {
            delay: Span::from_us(80),
            jitter: Jitter::Uniform(Span::from_us(60)),
            loss_ppm: 0,
            bursts: None,
            held_up: (0, Span::ZERO),
            twice_ppm: 0,
            damage_ppm: 0,
            bottleneck: None,
            stream_rate: 100_000_000,
        }
    }

    /// Wi-Fi with few neighbours: an access point repeats what collides, which delays more than it
    /// loses; now and then it looks for other channels, and nothing passes.
    #[must_use]
    pub const fn wifi() -> Self {
        Self {
            delay: Span::from_us(900),
            jitter: Jitter::Uniform(Span::from_ms(6)),
            loss_ppm: 5_000,
            bursts: Some((Span::from_s(4), Span::from_ms(15))),
            twice_ppm: 1_000,
            stream_rate: 4_000_000,
            ..Self::wired()
        }
    }

    /// Wi-Fi in a full hall: everybody's telephone is on the channel, a twentieth of the time it is lost
    /// altogether, and of the rest each twelfth datagram.
    #[must_use]
    pub const fn wifi_lossy() -> Self {
        Self {
            delay: Span::from_ms(2),
            jitter: Jitter::Uniform(Span::from_ms(25)),
            loss_ppm: 80_000,
            bursts: Some((Span::from_ms(400), Span::from_ms(20))),
            twice_ppm: 20_000,
            stream_rate: 400_000,
            ..Self::wired()
        }
    }

    /// LTE in a moving train: the radio repeats until it succeeds, so jitter is large and loss small,
    /// but for the tenth of a second in which the telephone changes its cell. What goes up has two
    /// megabits a second and a deep queue.
    #[must_use]
    pub const fn mobile() -> Self {
        Self {
            delay: Span::from_ms(25),
            jitter: Jitter::Normal(Span::from_ms(5)),
            loss_ppm: 5_000,
            bursts: Some((Span::from_s(8), Span::from_ms(100))),
            held_up: (10_000, Span::from_ms(40)),
            bottleneck: Some(Bottleneck { bits_per_s: 2_000_000, queue: Span::from_ms(500) }),
            stream_rate: 125_000,
            ..Self::wired()
        }
    }

    /// From Vienna to New York through good fibres: 7,000 km cost 35 ms, the rest is detours and routers;
    /// hardly any loss, single datagrams that take another way.
    #[must_use]
    pub const fn transatlantic() -> Self {
        Self {
            delay: Span::from_ms(45),
            jitter: Jitter::Normal(Span::from_us(300)),
            loss_ppm: 1_000,
            held_up: (1_000, Span::from_ms(5)),
            twice_ppm: 100,
            stream_rate: 10_000_000,
            ..Self::wired()
        }
    }

    /// A path of a few milliseconds that loses so many datagrams of a hundred, each by itself.
    #[must_use]
    pub const fn losing(percent: u64) -> Self {
        Self {
            delay: Span::from_ms(1),
            jitter: Jitter::Uniform(Span::from_ms(2)),
            loss_ppm: percent * 10_000,
            ..Self::wired()
        }
    }

    /// A path that carries so few bits a second, with 200 ms of queue before it: a modem, or what is
    /// left of a shared line.
    #[must_use]
    pub const fn narrow(bits_per_s: i64) -> Self {
        Self {
            delay: Span::from_ms(5),
            jitter: Jitter::NONE,
            bottleneck: Some(Bottleneck { bits_per_s, queue: Span::from_ms(200) }),
            ..Self::wired()
        }
    }

    /// The same path with bursts of loss: so long in the mean, and this part of all time, in a million.
    #[must_use]
    pub fn with_bursts(self, mean: Span, share_ppm: i64) -> Self {
        let between = mean.as_ns().saturating_mul(1_000_000 - share_ppm) / share_ppm.max(1);
        Self { bursts: Some((Span::from_ns(between), mean)), ..self }
    }

    /// The same path with another jitter.
    #[must_use]
    pub const fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// What share of datagrams is lost in the long run, in a million.
    #[must_use]
    pub fn loss_in_all_ppm(&self) -> u64 {
        let Some((between, length)) = self.bursts else { return self.loss_ppm };
        let part = |span: Span| u64::try_from(span.as_us()).unwrap_or(0);
        let bursts = 1_000_000 * part(length) / (part(length) + part(between)).max(1);
        bursts + self.loss_ppm * (1_000_000 - bursts) / 1_000_000
    }

    /// What a stream carries, in bytes a second: half of a bottleneck, the other half is left to
    /// datagrams.
    #[must_use]
    pub fn stream_bytes_per_s(&self) -> i64 {
        self.bottleneck.map_or(self.stream_rate, |b| self.stream_rate.min(b.bits_per_s / 16)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_by_their_names() {
        for (name, path) in Path::PRESETS {
            assert_eq!(Path::named(name), Some(path));
        }
        assert_eq!(Path::named("pigeon"), None);
    }

    #[test]
    fn bursts_take_the_share_of_time_that_was_said() {
        let path = Path::losing(0).with_bursts(Span::from_ms(20), 50_000);
        assert_eq!(path.bursts, Some((Span::from_ms(380), Span::from_ms(20))));
        assert_eq!(path.loss_in_all_ppm(), 50_000);
        assert_eq!(Path { loss_ppm: 100_000, ..path }.loss_in_all_ppm(), 145_000);
    }
}
