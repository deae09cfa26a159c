//! From options to what is to be done.

use std::num::NonZeroU64;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;

use super::{Bench, BenchError, ModeName};
use crate::load::{Mode, Pace, Plan, Target, TlsOptions};
use crate::tls::NoVerify;

/// The plan of these options, for a machine that allows so many connections.
pub(super) fn plan(bench: &Bench, most_connections: u64) -> Result<Plan, BenchError> {
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
    let connections = bench.connections.min(most_connections);
    let threads = bench
        .threads
        .map_or_else(|| threads_for(&targets), NonZeroU64::get);
    Ok(Plan {
        mode,
        connections,
        left_out: bench.connections - connections,
        connect_rate: bench.connect_rate,
        message_bytes: bench.size,
        duration: bench.duration,
        rounds: bench
            .rounds
            .unwrap_or(if targets.len() > 1 { 5 } else { 1 }),
        threads: threads.clamp(1, connections.max(1)),
        sources: bench.source,
        tls: TlsOptions {
            verifier: bench.tls_insecure.then(no_verify),
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

/// Believes any certificate but checks its signature, the work that wrk, h2load and k6 do as well.
fn no_verify() -> Arc<dyn ServerCertVerifier> {
    Arc::new(NoVerify::new(Arc::new(default_provider())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        plan(&cli.bench, u64::MAX).map_err(|error| error.to_string())
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
            "--size 1000000MiB",
            "--rounds 101",
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
