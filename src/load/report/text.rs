//! The report as people read it: a table, a column for each target.

use std::collections::BTreeSet;
use std::fmt;

use super::figures::{MemoryReport, Percentiles, Report, Spread, TargetReport, is_told};
use super::table::Table;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = Rows {
            report: self,
            table: Table::default(),
        };
        rows.openings();
        rows.messages();
        rows.costs();
        rows.generator();
        rows.faults();
        writeln!(f, "{}", self.load())?;
        write!(f, "{}", rows.table)?;
        for target in &self.targets {
            let TargetReport { url, generator, .. } = target;
            if let Some(why) = self.why_less_load(target) {
                writeln!(
                    f,
                    "note: {why} at {url}: under load for {:.1} s of {} s",
                    target.seconds_under_load, self.seconds
                )?;
            }
            if target.is_rate_held == Some(false) {
                writeln!(
                    f,
                    "note: the rate was not held at {url}: {} messages/s asked for, {:.0} reached",
                    self.rate_per_second.unwrap_or_default(),
                    target.messages_per_second.median
                )?;
            }
            if generator.is_bottleneck {
                writeln!(
                    f,
                    "note: the generator was itself the bottleneck at {url} (give it more --threads or cores)"
                )?;
            }
            if generator.is_starved {
                writeln!(
                    f,
                    "note: the machine was full at {url}: the generator waited for a core {:.0} % of \
                     the time (times and throughput are the machine's, CPU per message the target's)",
                    generator.waited_percent
                )?;
            }
        }
        Ok(())
    }
}

impl Report {
    /// Why a target was not under load for as long as was asked for.
    fn why_less_load(&self, target: &TargetReport) -> Option<&'static str> {
        let missing = self.seconds - target.seconds_under_load;
        match self.is_cut_short {
            true => (missing > 0.001 * self.seconds).then_some("cut short"),
            // A starved machine looks at its clock late, which is no round without load.
            false => (missing > 0.5 * self.seconds / f64::from(self.rounds))
                .then_some("nothing was open"),
        }
    }

    /// What was done, in a line.
    fn load(&self) -> String {
        let pace = match (self.rate_per_second, self.in_flight) {
            (Some(rate), _) => format!(", {rate} messages/s of {} bytes", self.message_bytes),
            (_, Some(count)) => format!(", {count} in flight, {} bytes", self.message_bytes),
            _ => String::new(),
        };
        let rounds = match self.rounds {
            1 => String::new(),
            rounds => format!(" in {rounds} rounds"),
        };
        format!(
            "{}: {} connections{pace}, {} s{rounds}, {} generator thread(s)",
            self.mode, self.connections, self.seconds, self.threads
        )
    }
}

struct Rows<'a> {
    report: &'a Report,
    table: Table,
}

impl Rows<'_> {
    fn openings(&mut self) {
        self.cells("", |target| Some(target.url.clone()));
        self.cells("connections opened", |target| {
            Some(target.opened.to_string())
        });
        if self.report.targets.iter().any(|target| target.resumed > 0) {
            self.cells("  TLS sessions resumed", |target| {
                Some(target.resumed.to_string())
            });
        }
        self.percentiles("connect, ms", |target| target.opening_ms);
        self.spread("handshakes per second", |target| {
            target.handshakes_per_second
        });
        self.percentiles("all open again, ms", |target| target.recovery_ms);
        let targets = &self.report.targets;
        if self.report.mode == "storm" && targets.iter().all(|target| target.recovery_ms.count == 0)
        {
            let never = vec![NOTHING.to_owned(); targets.len()];
            self.table.row("all open again, ms", never);
        }
    }

    fn messages(&mut self) {
        let targets = &self.report.targets;
        let is_waited_for = matches!(self.report.mode, "echo" | "sink");
        if !is_waited_for && targets.iter().all(|target| target.messages == 0) {
            return;
        }
        self.cells("messages", |target| Some(target.messages.to_string()));
        self.spread("messages per second", |target| {
            Some(target.messages_per_second)
        });
        self.spread("payload, MB per second", |target| {
            target.megabytes_per_second
        });
        self.percentiles("round trip, µs", |target| target.round_trip_us);
    }

    fn costs(&mut self) {
        self.spread("CPU per message, µs", |target| target.cpu_us_per_message);
        self.spread("CPU per gigabyte, s", |target| target.cpu_s_per_gigabyte);
        self.spread("CPU per handshake, µs", |target| {
            target.cpu_us_per_handshake
        });
        self.spread("CPU, cores", |target| target.cpu_cores);
        self.memory("with all open", |target| target.memory_open);
        self.memory("at the end", |target| target.memory_loaded);
    }

    fn memory(&mut self, when: &str, of: impl Fn(&TargetReport) -> MemoryReport) {
        let name = format!("bytes per connection {when}");
        self.bytes(&name, |target| of(target).bytes_per_connection);
        self.bytes("  and in the kernel, both ends", |target| {
            let memory = of(target);
            memory
                .bytes_per_connection
                .and(memory.tcp_bytes_per_connection)
        });
    }

    fn generator(&mut self) {
        self.table.heading("generator");
        self.cells("  CPU, cores", |target| {
            Some(number(target.generator.cpu_cores))
        });
        self.cells("  CPU per message, µs", |target| {
            target.generator.cpu_us_per_message.map(number)
        });
        self.cells("  CPU per handshake, µs", |target| {
            target.generator.cpu_us_per_handshake.map(number)
        });
        self.cells("  busiest thread", |target| {
            Some(format!("{:.0} %", target.generator.busiest_percent))
        });
        self.cells("  waited for a core", |target| {
            Some(format!("{:.0} %", target.generator.waited_percent))
        });
        if self
            .report
            .targets
            .iter()
            .any(|target| target.generator.late_us.count > 0)
        {
            self.cells("  late, µs, 99 %", |target| {
                Some(number(target.generator.late_us.p99))
            });
        }
    }

    fn faults(&mut self) {
        let targets = &self.report.targets;
        let kinds: BTreeSet<_> = targets
            .iter()
            .flat_map(|target| target.faults.keys())
            .collect();
        let codes: BTreeSet<_> = targets
            .iter()
            .flat_map(|target| target.close_codes.keys())
            .collect();
        if !codes.is_empty() {
            self.table.heading("close codes");
        }
        for code in codes {
            self.cells(&format!("  {code}"), |target| {
                Some(count(target.close_codes.get(code)))
            });
        }
        if kinds.is_empty() {
            self.table.heading("nothing was lost or wrong");
            return;
        }
        self.table.heading("faults");
        for kind in kinds {
            self.cells(&format!("  {kind}"), |target| {
                Some(count(target.faults.get(kind)))
            });
        }
    }

    /// Percentiles of each target, compared with the first target's.
    fn percentiles(&mut self, name: &str, of: impl Fn(&TargetReport) -> Percentiles) {
        if self
            .report
            .targets
            .iter()
            .all(|target| of(target).count == 0)
        {
            return;
        }
        self.table.heading(name);
        for (name, quantile, figure) in PERCENTILES {
            self.figure(&format!("  {name}"), |target| {
                let percentiles = of(target);
                is_told(percentiles.count, quantile).then(|| figure(&percentiles))
            });
        }
    }

    fn figure(&mut self, name: &str, of: impl Fn(&TargetReport) -> Option<f64>) {
        let first = self.report.targets.first().and_then(&of);
        self.compared(name, first, |target| {
            of(target).map(|figure| (figure, number(figure)))
        });
    }

    /// Whole bytes; the machine's noise may well be larger than what a few connections hold.
    fn bytes(&mut self, name: &str, of: impl Fn(&TargetReport) -> Option<f64>) {
        let first = self.report.targets.first().and_then(&of);
        self.compared(name, first, |target| {
            of(target).map(|figure| (figure, format!("{figure:.0}")))
        });
    }

    /// Medians compared with the first target's, with their spread.
    fn spread(&mut self, name: &str, of: impl Fn(&TargetReport) -> Option<Spread>) {
        let first = self
            .report
            .targets
            .first()
            .and_then(&of)
            .map(|spread| spread.median);
        let rounds = self.report.rounds;
        self.compared(name, first, |target| {
            let Spread { median, min, max } = of(target)?;
            let range = format!("{} [{} .. {}]", number(median), number(min), number(max));
            Some((median, if rounds > 1 { range } else { number(median) }))
        });
    }

    fn compared(
        &mut self,
        name: &str,
        first: Option<f64>,
        of: impl Fn(&TargetReport) -> Option<(f64, String)>,
    ) {
        let mut number = 0;
        self.cells(name, |target| {
            number += 1;
            let (figure, text) = of(target)?;
            Some(match first {
                Some(first) if number > 1 && first > 0.0 => {
                    format!("{text} ({:.2}x)", figure / first)
                }
                _ => text,
            })
        });
    }

    /// A row, unless no target has anything to say in it.
    fn cells(&mut self, name: &str, cell: impl FnMut(&TargetReport) -> Option<String>) {
        let cells: Vec<_> = self.report.targets.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            self.table.row(
                name,
                cells
                    .into_iter()
                    .map(|cell| cell.unwrap_or_else(|| NOTHING.to_owned()))
                    .collect(),
            );
        }
    }
}

/// What stands where others have a figure.
const NOTHING: &str = "\u{2013}";

type Figure = fn(&Percentiles) -> f64;

/// The slowest is told of any number.
const PERCENTILES: [(&str, f64, Figure); 6] = [
    ("50 %", 0.5, |percentiles| percentiles.p50),
    ("90 %", 0.9, |percentiles| percentiles.p90),
    ("99 %", 0.99, |percentiles| percentiles.p99),
    ("99.9 %", 0.999, |percentiles| percentiles.p99_9),
    ("99.99 %", 0.9999, |percentiles| percentiles.p99_99),
    ("100 %", 0.0, |percentiles| percentiles.max),
];

fn count(count: Option<&u64>) -> String {
    count.map_or_else(String::new, ToString::to_string)
}

/// Three digits that matter, whole numbers from a hundred on.
fn number(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_noted_in_a_line() {
        let mut report = Report::of_nothing("ws://a/");
        assert!(!report.to_string().contains("note:"));
        let generator = &mut report.targets[0].generator;
        (generator.is_bottleneck, generator.is_starved) = (true, true);
        report.rate_per_second = Some(500);
        report.targets[0].is_rate_held = Some(false);
        let text = report.to_string();
        let notes: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("note: "))
            .collect();
        assert!(
            notes[0].contains("not held at ws://a/: 500 messages/s asked for, 0 reached"),
            "{text}"
        );
        assert!(
            notes[1].contains("itself the bottleneck at ws://a/"),
            "{text}"
        );
        assert!(
            notes[2].contains("the machine was full at ws://a/"),
            "{text}"
        );
        assert!(notes.iter().all(|note| !note.contains("  ")), "{text}");
    }
}
