//! What the real-time lane achieves, as a table: traffic × loss × bursts × jitter.
//!
//! The table lives in the repository, and a test makes it again and compares it, so a change that moves a
//! figure shows in its diff. Delays are from the moment at which a source gives a message to its node to
//! the moment at which the far node writes it to its output, less the least delay of the path, so jitter
//! counts as delay. Targets are those of the design; where a path has jitter, its width is allowed beside.

use std::fmt::Write as _;

use midip2p_proto::time::Span;

use crate::measure::{self, Figures};
use crate::network::{Jitter, Path};
use crate::seeds;
use crate::traffic::Traffic;

/// A row: what is played over which path.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The music.
    pub traffic: Traffic,
    /// The path.
    pub path: Path,
    /// Its name, when it has one.
    pub name: Option<&'static str>,
}

/// How wide the jitter is in every other row.
const JITTER: Span = Span::from_ms(8);

/// Which losses there are, in percent, and what 99 of 100 events should not exceed then.
const LOSSES: [(u64, Option<i64>); 5] =
    [(0, None), (5, Some(3)), (20, Some(7)), (50, Some(50)), (66, Some(120))];

/// The same for bursts of mean 20 ms in 5 % of the time.
const BURSTS_MS: i64 = 40;

/// Rows in which nothing but loss and jitter varies, for these kinds of music.
#[must_use]
pub fn loss_rows(kinds: &[Traffic]) -> Vec<Row> {
    let mut rows = Vec::new();
    for traffic in kinds {
        let mut row = |path: Path| {
            for jitter in [Span::ZERO, JITTER] {
                let path = path.with_jitter(Jitter::Uniform(jitter));
                rows.push(Row { traffic: *traffic, path, name: None });
            }
        };
        LOSSES.iter().for_each(|(loss, _)| row(Path::losing(*loss)));
        row(Path::losing(0).with_bursts(Span::from_ms(20), 50_000));
    }
    rows
}

/// All rows of the committed table.
#[must_use]
pub fn all_rows() -> Vec<Row> {
    let named = Path::PRESETS.iter().flat_map(|(name, path)| {
        Traffic::ALL.map(|traffic| Row { traffic, path: *path, name: Some(name) })
    });
    loss_rows(&Traffic::ALL).into_iter().chain(named).collect()
}

impl Row {
    /// How much of it one seed plays.
    fn length(&self) -> Span {
        match self.traffic {
            Traffic::Lone => Span::from_s(4),
            Traffic::Ten | Traffic::Edits => Span::from_s(3),
            Traffic::Sweeps | Traffic::Midi2 => Span::from_s(2),
            Traffic::Thousand | Traffic::Ticks => Span::from_s(1),
        }
    }

    /// How many seeds the committed table has, so that each row has a few hundred events at least.
    #[must_use]
    pub const fn usual_seeds(&self) -> u64 {
        match self.traffic {
            Traffic::Lone => 40,
            Traffic::Ten => 20,
            // Few bursts fall into a second or two, and a p99 hangs on them.
            Traffic::Thousand | Traffic::Edits | Traffic::Midi2 | Traffic::Sweeps => 24,
            Traffic::Ticks => 16,
        }
    }

    /// Plays it with so many seeds.
    ///
    /// # Errors
    /// What a checker found, and with which seed.
    pub fn measure(&self, count: u64) -> Result<Figures, String> {
        let mut all = Figures::default();
        seeds::exactly(count, |seed| {
            let figures = measure::run(self.traffic, self.path, self.length(), seed);
            all.add(figures.map_err(|what| format!("{}: {what}", self.title()))?);
            Ok(())
        })?;
        all.sort();
        Ok(all)
    }

    fn title(&self) -> String {
        let Path { loss_ppm, bursts, .. } = self.path;
        let name = self.name.map_or_else(
            || {
                let bursts = bursts.map_or("–", |_| "20 ms, 5 %");
                let jitter = self.path.jitter.most().as_us() / 1000;
                format!("{} % | {bursts} | {jitter} ms", loss_ppm / 10_000)
            },
            |name| format!("{name} | |"),
        );
        format!("{} | {name}", self.traffic.name())
    }

    /// What 99 of 100 should not exceed, without jitter.
    fn target(&self) -> Option<Span> {
        let ms = match (self.name, self.path.bursts) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(BURSTS_MS),
            (None, None) => LOSSES
                .iter()
                .find(|(loss, _)| loss * 10_000 == self.path.loss_ppm)
                .and_then(|l| l.1),
        };
        ms.map(Span::from_ms)
    }

    /// The most note-ons in a million that may come too late to be played. In a burst longer than the limit
    /// nobody could play them, so there the design asks nothing.
    const fn dropped_ppm_most(&self) -> Option<u64> {
        match (self.name.is_some() || self.path.bursts.is_some(), self.path.loss_ppm) {
            (true, _) | (_, 500_001..) => None,
            (_, ..=200_000) => Some(0),
            _ => Some(1_000),
        }
    }

    /// Whether it reaches what the design asks; `None` where it asks nothing.
    #[must_use]
    pub fn is_met(&self, figures: &Figures) -> Option<bool> {
        // To the tenth of a millisecond that is printed: clocks drift by some microseconds meanwhile.
        let p99 = figures.quantile(990) - Span::from_us(50);
        let delay = self.target().map(|target| p99 < target + self.path.jitter.most());
        let dropped = self
            .dropped_ppm_most()
            .map(|most| figures.late_dropped * 1_000_000 <= most * figures.note_ons);
        match (delay, dropped) {
            (None, None) => None,
            (delay, dropped) => Some(delay.unwrap_or(true) && dropped.unwrap_or(true)),
        }
    }

    fn line(&self, figures: &Figures) -> String {
        let ms = |span: Span| {
            let tenths = (span.as_us() + 50) / 100;
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        let target = self.target().map_or("–".to_owned(), |target| {
            let jitter = self.path.jitter.most().as_us() / 1000;
            let jitter = if jitter > 0 { format!(" + {jitter}") } else { String::new() };
            format!("{}{jitter}", target.as_us() / 1000)
        });
        let met = self.is_met(figures).map_or("", |met| if met { "yes" } else { "**no**" });
        let Figures { sent, played, superseded, late_dropped, stuck, links_lost, .. } = figures;
        let delays = [500, 990, 1000].map(|rank| ms(figures.quantile(rank))).join(" | ");
        format!(
            "| {} | {sent} | {played} | {superseded} | {late_dropped} | {stuck} | {links_lost} | {delays} | {target} | {met} |",
            self.title()
        )
    }
}

/// What each column holds.
pub const HEAD: &str = "\
| traffic | loss | bursts | jitter | sent | played | superseded | late-dropped | stuck | links lost \
| p50 ms | p99 ms | max ms | p99 target | met |
|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|
";

/// The rows in Markdown, to stand under [`HEAD`], each measured with so many seeds as `count` says.
///
/// # Errors
/// What a checker found, in all rows.
pub fn markdown(rows: &[Row], count: impl Fn(&Row) -> u64) -> Result<String, String> {
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for row in rows {
        match row.measure(count(row)) {
            Ok(figures) => {
                let _ = writeln!(text, "{}", row.line(&figures));
            }
            Err(what) => wrong.push(what),
        }
    }
    if wrong.is_empty() { Ok(text) } else { Err(wrong.join("\n")) }
}
