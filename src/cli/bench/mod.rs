//! `tidegate bench`: puts WebSocket servers and proxies under load, and compares them.

mod bar;
mod interrupt;
mod plan;
mod report_file;
mod values;

use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use self::bar::Bar;
use self::interrupt::{Interrupt, interruptible};
use self::plan::plan;
use self::report_file::ReportFile;
use self::values::{duration, rate, rate_or_max, size, threads};
use crate::load::{Report, RunError, TargetError, raise_descriptor_limit, run as run_plan};

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
    /// Take any certificate
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
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
    let work = move |interrupt: &Interrupt| match try_run(&bench, interrupt) {
        Ok(code) => code,
        Err(error) => {
            complain(&chain(&error));
            error.exit_code()
        }
    };
    interruptible(work).unwrap_or_else(|error| {
        complain(&chain(&error));
        ExitCode::FAILURE
    })
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
            Self::Pids { .. }
            | Self::Option { .. }
            | Self::Resume
            | Self::Target(TargetError::NotWebSocket { .. } | TargetError::Port { .. }) => {
                ExitCode::from(2)
            }
            Self::Target(_) | Self::Run(_) | Self::Report { .. } | Self::Print { .. } => {
                ExitCode::FAILURE
            }
        }
    }
}

type Unlimited<T> = Option<T>;
type Auto<T> = Option<T>;

fn try_run(bench: &Bench, interrupt: &Interrupt) -> Result<ExitCode, BenchError> {
    let possible = raise_descriptor_limit();
    let plan = plan(bench, possible)?;
    if plan.left_out > 0 {
        complain(&format_args!(
            "the descriptor limit allows {possible} connections of {} (see ulimit -n)",
            bench.connections
        ));
    }
    // Found out before the load, not after.
    let json = bench.json.as_deref().map(ReportFile::open).transpose()?;
    let html = bench.html.as_deref().map(ReportFile::open).transpose()?;
    let bar = Bar::new(&plan);
    let rounds = run_plan(&plan, &mut |progress| {
        bar.show(progress);
        match interrupt.exit_code() {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    })?;
    bar.finish();
    let report = Report::new(&plan, &rounds);
    // One that can't be written does not take the others with it.
    let printed = write!(io::stdout(), "{report}").map_err(BenchError::from);
    let json = json.map_or(Ok(()), |file| {
        file.write(serde_json::to_string_pretty(&report))
    });
    let html = html.map_or(Ok(()), |file| file.write(report.html()));
    printed.and(json).and(html)?;
    let outcome = match report.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    let cut_short = interrupt.exit_code().filter(|_| report.is_cut_short);
    Ok(cut_short.unwrap_or(outcome))
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
