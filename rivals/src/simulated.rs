//! The loss rows: the simulator's committed table, which a test of the simulator compares with what it
//! does, row by row and digit by digit. So they need no measuring, and are the same on every machine.

use anyhow::{Context as _, Result};

use crate::row::{Check, Row};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/sim/tables/realtime.md");

/// The rows that have a target.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(TABLE).with_context(|| format!("cannot read {TABLE}"))?;
    let mut lines = text.lines().filter(|line| line.starts_with('|')).map(cells);
    let heads = lines.next().with_context(|| format!("{TABLE} holds no table"))?;
    let rows = lines.filter_map(|cells| {
        let cell = |name: &str| {
            let at = heads.iter().position(|head| head == name)?;
            cells.get(at).map(String::as_str)
        };
        row(&cell)
    });
    Ok(rows.collect())
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn row<'a>(cell: &dyn Fn(&str) -> Option<&'a str>) -> Option<Row> {
    // "50 + 8": the target, and the jitter on top of it.
    let target: f64 = cell("p99 target")?
        .split('+')
        .map(|part| part.trim().parse::<f64>().ok())
        .sum::<Option<f64>>()?;
    let figure = |name| cell(name)?.parse::<f64>().ok();
    let [traffic, loss, bursts, jitter] = ["traffic", "loss", "bursts", "jitter"].map(cell);
    let bursts = match bursts? {
        "–" => String::new(),
        bursts => format!(", bursts {bursts}"),
    };
    Some(Row {
        name: format!("loss, simulated, {}, {}{bursts}, jitter {}", traffic?, loss?, jitter?),
        unit: "ms",
        ours: vec![
            ("p50", figure("p50 ms")?),
            ("p99", figure("p99 ms")?),
            ("max", figure("max ms")?),
        ],
        yardstick: None,
        checks: vec![Check::AtMost("p99", target)],
        remark: format!(
            "sent {}, played {}, superseded {}, late-dropped {}, stuck {}",
            cell("sent")?,
            cell("played")?,
            cell("superseded")?,
            cell("late-dropped")?,
            cell("stuck")?
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_simulator_is_understood() {
        let rows = rows().unwrap();
        assert!(rows.len() > 20, "{}", rows.len());
        assert!(rows.iter().any(|row| row.name == "loss, simulated, lone, 50 %, jitter 0 ms"));
    }
}
