//! `tidegate bench`: puts WebSocket servers and proxies under load, and compares them.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ipnet::IpNet;

use crate::load::{
    Mode, Pace, Plan, Progress, Report, RunError, Target, TargetError, TlsOptions,
    raise_descriptor_limit, run as run_plan,
};

/// Puts WebSockets under load, checks every message, and says what it cost.
#[derive(Args, Clone, Debug)]
pub struct Bench {
    /// Where: ws://HOST:PORT/PATH or wss://HOST:PORT/PATH
    url: String,
    /// Open WebSockets
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    connections: u64,
    /// Connections opened in a second; "max" is as fast as they open
    #[arg(long, value_name = "N/s", default_value = "500/s", value_parser = rate_or_max)]
    connect_rate: Unlimited<NonZeroU64>,
    /// Echoes asked for in a second over all connections, whatever has come back [default: 10000/s]
    #[arg(long, value_name = "N/s", value_parser = rate, conflicts_with = "in_flight")]
    rate: Option<NonZeroU64>,
    /// Echoes under way on each connection: the next is asked for when one has come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    in_flight: Option<u32>,
    /// Payload bytes of a message: 128, 64KiB, 1MiB
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = size)]
    size: usize,
    /// Time under load: 500ms, 10s, 5m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// The kind of load
    #[arg(long, value_enum, default_value_t = ModeName::Echo)]
    mode: ModeName,
    /// Bytes that each slow reader reads in a second [default: 1024]
    #[arg(long, value_name = "N")]
    read_rate: Option<u32>,
    /// Take any certificate, and check no signature
    #[arg(long)]
    tls_insecure: bool,
    /// PEM file with the roots to trust instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "tls_insecure")]
    ca: Option<PathBuf>,
    /// Resume TLS sessions
    #[arg(long)]
    resume: bool,
    /// Come from these addresses in turn, so that ports do not run out
    #[arg(long, value_name = "NET")]
    source: Option<IpNet>,
    /// Threads of the generator; "auto" is one per core, half of them for a target on this machine
    #[arg(long, value_name = "N", default_value = "auto", value_parser = threads)]
    threads: Auto<NonZeroU64>,
    /// The same load for this URL too, in turn
    #[arg(long, value_name = "URL")]
    compare: Vec<String>,
    /// Account this process and its descendants: one for each URL, in their order, 0 for none
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Parts the duration is split into, the targets taking turns [default: 5 when comparing]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Write the figures to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures to this file too, as a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    /// Messages that must come back as they went
    Echo,
    /// Connections that stay open and silent
    Idle,
    /// Connections opened and closed again, --connections at a time at most
    Connect,
    /// Messages that the server sends of its own accord
    Sink,
    /// All connections lost and opened again at the same instant, over and over
    Storm,
    /// Clients that send all they can and read --read-rate
    SlowReader,
}

/// Runs the load and prints what it has shown: 0 when nothing was lost or wrong.
pub fn run(bench: Bench) -> ExitCode {
    match try_run(&bench) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&chain(&error));
            error.exit_code()
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{pids} times --pid for {urls} URLs (give one for each URL, 0 for none)")]
    Pids { pids: usize, urls: usize },
    #[error("{option} says nothing in mode {mode}")]
    Option {
        option: &'static str,
        mode: &'static str,
    },
    #[error("--resume says nothing where no URL is wss://")]
    Resume,
    #[error("could not write {}", file.display())]
    Report { file: PathBuf, source: io::Error },
    #[error("could not print the report")]
    Print {
        #[from]
        source: io::Error,
    },
}

impl BenchError {
    /// Wrong arguments, or a run that failed.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Pids { .. } | Self::Option { .. } | Self::Resume => ExitCode::from(2),
            Self::Target(_) | Self::Run(_) | Self::Report { .. } | Self::Print { .. } => {
                ExitCode::FAILURE
            }
        }
    }
}

type Unlimited<T> = Option<T>;
type Auto<T> = Option<T>;

fn try_run(bench: &Bench) -> Result<bool, BenchError> {
    let mut plan = plan(bench)?;
    let possible = raise_descriptor_limit();
    if plan.connections > possible {
        complain(&format_args!(
            "the descriptor limit allows {possible} connections of {} (see ulimit -n)",
            plan.connections
        ));
        plan.connections = possible;
    }
    // Found out before the load, not after.
    let json = bench.json.as_deref().map(ReportFile::open).transpose()?;
    let html = bench.html.as_deref().map(ReportFile::open).transpose()?;
    let bar = Bar::new(&plan);
    let rounds = run_plan(&plan, &mut |progress| bar.show(progress))?;
    bar.finish();
    let report = Report::new(&plan, &rounds);
    write!(io::stdout(), "{report}")?;
    if let Some(file) = json {
        file.write(serde_json::to_string_pretty(&report))?;
    }
    if let Some(file) = html {
        file.write(report.html())?;
    }
    Ok(report.is_clean())
}

/// A file that the report goes to.
struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// Leaves what the file holds until there is something to write.
    fn open(path: &Path) -> Result<Self, BenchError> {
        let path = path.to_owned();
        let mut options = File::options();
        match options.write(true).create(true).truncate(false).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(BenchError::Report { file: path, source }),
        }
    }

    fn write(mut self, text: serde_json::Result<String>) -> Result<(), BenchError> {
        let written = text
            .map_err(io::Error::from)
            .and_then(|text| self.replace(&text));
        let file = self.path;
        written.map_err(|source| BenchError::Report { file, source })
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        // A pipe or a terminal has nothing to empty.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

fn plan(bench: &Bench) -> Result<Plan, BenchError> {
    let urls = || std::iter::once(&bench.url).chain(&bench.compare);
    if !bench.pid.is_empty() && bench.pid.len() != urls().count() {
        return Err(BenchError::Pids {
            pids: bench.pid.len(),
            urls: urls().count(),
        });
    }
    let pids = bench.pid.iter().map(|&pid| (pid != 0).then_some(pid));
    let targets = urls()
        .zip(pids.chain(std::iter::repeat(None)))
        .map(|(url, pid)| Target::resolve(url, pid))
        .collect::<Result<Vec<_>, _>>()?;
    let mode = mode(bench);
    if let Some(option) = without_effect(bench, mode) {
        let mode = mode.word();
        return Err(BenchError::Option { option, mode });
    }
    if bench.resume && !targets.iter().any(|target| target.secure) {
        return Err(BenchError::Resume);
    }
    let threads = bench
        .threads
        .map_or_else(|| threads_for(&targets), NonZeroU64::get);
    Ok(Plan {
        mode,
        connections: bench.connections,
        connect_rate: bench.connect_rate,
        message_bytes: bench.size,
        duration: bench.duration,
        rounds: bench
            .rounds
            .unwrap_or(if targets.len() > 1 { 5 } else { 1 }),
        threads: threads.clamp(1, bench.connections.max(1)),
        sources: bench.source,
        tls: TlsOptions {
            insecure: bench.tls_insecure,
            ca: bench.ca.clone(),
            resume: bench.resume,
        },
        targets,
    })
}

fn mode(bench: &Bench) -> Mode {
    const DEFAULT_RATE: NonZeroU64 = NonZeroU64::new(10_000).expect("not zero");
    const DEFAULT_READ_RATE: u32 = 1024;
    match bench.mode {
        ModeName::Idle => Mode::Idle,
        ModeName::Connect => Mode::Connect,
        ModeName::Sink => Mode::Sink,
        ModeName::Storm => Mode::Storm,
        ModeName::SlowReader => Mode::SlowReader(bench.read_rate.unwrap_or(DEFAULT_READ_RATE)),
        ModeName::Echo => Mode::Echo(match bench.in_flight {
            Some(count) => Pace::InFlight(count),
            None => Pace::Rate(bench.rate.unwrap_or(DEFAULT_RATE)),
        }),
    }
}

/// An option that was given and would not be heeded.
fn without_effect(bench: &Bench, mode: Mode) -> Option<&'static str> {
    let is_echo = matches!(mode, Mode::Echo(_));
    let is_slow_reader = matches!(mode, Mode::SlowReader(_));
    [
        ("--rate", bench.rate.is_some() && !is_echo),
        ("--in-flight", bench.in_flight.is_some() && !is_echo),
        ("--read-rate", bench.read_rate.is_some() && !is_slow_reader),
    ]
    .into_iter()
    .find_map(|(option, is_lost)| is_lost.then_some(option))
}

/// A target on this machine needs cores of its own.
fn threads_for(targets: &[Target]) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let shared = targets
        .iter()
        .any(|target| target.address.ip().is_loopback());
    if shared { cores / 2 } else { cores }
}

/// The error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", chain(cause)),
    }
}

fn complain(what: &dyn std::fmt::Display) {
    // Nobody is left to hear that standard error is closed.
    let _ = writeln!(io::stderr(), "tidegate bench: {what}");
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "not a rate (write 500/s)".to_owned())
}

fn rate_or_max(text: &str) -> Result<Unlimited<NonZeroU64>, String> {
    if text == "max" {
        Ok(None)
    } else {
        rate(text).map(Some)
    }
}

fn threads(text: &str) -> Result<Auto<NonZeroU64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| "not a number of threads (write auto, or 4)".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = || {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number
            .checked_mul(millis)
            .filter(|&millis| millis > 0)
            .map(Duration::from_millis)
    };
    read().ok_or_else(|| "not a time (write 500ms, 10s or 5m)".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let read = || {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: usize = match unit {
            "" => 1,
            "KiB" | "k" => 1024,
            "MiB" | "m" => 1024 * 1024,
            _ => return None,
        };
        number.parse::<usize>().ok()?.checked_mul(factor)
    };
    read().ok_or_else(|| "not a size (write 128, 64KiB or 1MiB)".to_owned())
}

/// Shows how a run goes, where standard error is a terminal.
struct Bar {
    bar: ProgressBar,
    span: Duration,
    urls: Vec<String>,
}

impl Bar {
    fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::new(1000);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        let urls = plan
            .targets
            .iter()
            .map(|target| target.url.clone())
            .collect();
        Self {
            bar,
            span: plan.duration / plan.rounds,
            urls,
        }
    }

    fn show(&self, progress: Progress) {
        let Progress {
            round,
            rounds,
            target,
            opened,
            messages,
            faults,
            under_load,
        } = progress;
        let part = under_load.map_or(0.0, |passed| passed.as_secs_f64() / self.span.as_secs_f64());
        let targets = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        let turn = round * targets + u32::try_from(target).unwrap_or_default();
        let done = (f64::from(turn) + part.min(1.0)) / f64::from(rounds * targets);
        self.bar.set_position(
            Duration::from_secs_f64(done)
                .as_millis()
                .try_into()
                .unwrap_or(1000),
        );
        let doing = if under_load.is_some() {
            "under load"
        } else {
            "opening"
        };
        let url = self.urls.get(target).map_or("", String::as_str);
        self.bar.set_message(format!(
            "{url} {doing}: {opened} open, {messages} messages, {faults} faults"
        ));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(arguments: &str) -> Result<Plan, String> {
        let arguments = ["bench", "ws://127.0.0.1:1/"]
            .into_iter()
            .chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(arguments).map_err(|error| error.to_string())?;
        plan(&cli.bench).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_an_open_loop() {
        let plan = parse("").unwrap();
        assert_eq!(
            plan.mode,
            Mode::Echo(Pace::Rate(NonZeroU64::new(10_000).unwrap()))
        );
        assert_eq!(
            (plan.connections, plan.message_bytes, plan.rounds),
            (1000, 128, 1)
        );
        assert_eq!(plan.connect_rate, NonZeroU64::new(500));
        assert_eq!(plan.duration, Duration::from_secs(10));
    }

    #[test]
    fn options_are_read_as_they_are_written() {
        let plan = parse("--in-flight 8 --size 64KiB --duration 5m --connect-rate max --threads 3");
        let plan = plan.unwrap();
        assert_eq!(plan.mode, Mode::Echo(Pace::InFlight(8)));
        assert_eq!(
            (plan.message_bytes, plan.connect_rate, plan.threads),
            (65536, None, 3)
        );
        assert_eq!(plan.duration, Duration::from_secs(300));
    }

    #[test]
    fn every_url_may_have_its_process() {
        let plan = parse("--pid 12 --compare wss://127.0.0.1/x --pid 0").unwrap();
        assert_eq!(plan.targets[0].pid, Some(12));
        assert_eq!((plan.targets[1].pid, plan.targets[1].secure), (None, true));
        assert_eq!(plan.rounds, 5);
        assert!(
            parse("--pid 12 --compare wss://127.0.0.1/x")
                .unwrap_err()
                .contains("--pid")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            "--rate 0/s",
            "--rate 5/m",
            "--in-flight 0",
            "--rate 5/s --in-flight 1",
            "--size 1x",
            "--duration 10",
            "--duration 0s",
            "--source here",
            "--threads 0",
            "--connections 0",
            "--mode idle --rate 5/s",
            "--mode sink --in-flight 1",
            "--read-rate 5",
            "--resume",
        ] {
            assert!(parse(arguments).is_err(), "{arguments}");
        }
    }
}
