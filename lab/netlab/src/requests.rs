//! What the command line may ask of a running switch: one line, answered by lines.

use std::io::Write;

use crate::impair::{Config, Link};
use crate::node_name;
use crate::switch::{Switch, salt};
use crate::sys;

type Answer = Result<String, String>;

impl Switch {
    /// Does what the line asks and answers it.
    pub fn request(&mut self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["ping"] => Ok("ok\n".into()),
            ["stop"] => {
                self.stopped = true;
                Ok(String::new())
            }
            ["impair", "all", options @ ..] => self.impair_all(&Config::parse(options)?.0),
            ["impair", a, b, options @ ..] => self.impair(a, b, options),
            ["clear"] => self.impair_all(&Config::default()),
            ["reset-stats"] => {
                for (i, j) in self.pairs() {
                    self.links[i][j].stats = Default::default();
                }
                Ok(String::new())
            }
            ["show"] => {
                let row = |(i, j): (usize, usize)| {
                    let config = &self.links[i][j].cfg;
                    format!("{} {} {config:?}\n", node_name(i), node_name(j))
                };
                Ok(self.pairs().map(row).collect())
            }
            ["stats"] => Ok(self.stats()),
            ["trace", path] => self.trace_to(path),
            ["nat", node, shift] => {
                let node = self.node(node)?;
                let shift = if *shift == "off" { "0" } else { shift };
                self.shifts[node] =
                    shift.parse().map_err(|_| format!("{shift}: 0 to 65535 or off"))?;
                Ok(String::new())
            }
            ["carrier", node, state @ ("on" | "off")] => {
                let node = self.node(node)?;
                let on = *state == "on";
                sys::set_carrier(&self.taps[node], on).map_err(|e| format!("carrier: {e}"))?;
                self.plugged[node] = on;
                Ok(String::new())
            }
            _ => Err(format!("unknown request: {line}")),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let n = self.taps.len();
        (0..n).flat_map(move |i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j)
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        let found = (0..self.taps.len()).find(|i| node_name(*i) == name);
        found.ok_or_else(|| format!("no node {name}"))
    }

    fn impair_all(&mut self, config: &Config) -> Answer {
        for (i, j) in self.pairs() {
            self.links[i][j] = Link::new(config.clone(), salt(i, j));
        }
        Ok(String::new())
    }

    fn impair(&mut self, a: &str, b: &str, options: &[&str]) -> Answer {
        let (i, j) = (self.node(a)?, self.node(b)?);
        if i == j {
            return Err("a node has no link to itself".into());
        }
        let (config, oneway) = Config::parse(options)?;
        self.links[i][j] = Link::new(config.clone(), salt(i, j));
        if !oneway {
            self.links[j][i] = Link::new(config, salt(j, i));
        }
        Ok(String::new())
    }

    fn stats(&self) -> String {
        let mut out = String::from(
            "from to seen bytes lost queue_drop down_drop dup held out late_mean_us late_max_us\n",
        );
        for (i, j) in self.pairs() {
            let s = &self.links[i][j].stats;
            let counts = [s.seen, s.bytes, s.lost, s.queue_drop, s.down_drop, s.dup, s.held, s.out];
            let counts = counts.map(|n| n.to_string()).join(" ");
            let mean_us = s.late_sum_ns as f64 / 1e3 / s.out.max(1) as f64;
            let max_us = s.late_max_ns as f64 / 1e3;
            let (from, to) = (node_name(i), node_name(j));
            out += &format!("{from} {to} {counts} {mean_us:.1} {max_us:.1}\n");
        }
        out
    }

    /// One line per frame and verdict from now on; `off` ends it.
    fn trace_to(&mut self, path: &str) -> Answer {
        if let Some(mut old) = self.trace.take() {
            old.flush().map_err(|e| e.to_string())?;
        }
        if path != "off" {
            let file = std::fs::File::create(path).map_err(|e| format!("{path}: {e}"))?;
            let mut trace = std::io::BufWriter::new(file);
            writeln!(trace, "mono_ns,from,to,bytes,verdict,delay_ns").map_err(|e| e.to_string())?;
            self.trace = Some(trace);
        }
        Ok(String::new())
    }
}
