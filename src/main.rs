//! Arguments and exit codes.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tidegate::cli;

/// Long-lived sessions leave small, scattered allocations; jemalloc keeps them dense.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A WebSocket-first layer-7 proxy and load balancer that follows frames.
#[derive(Parser)]
#[command(name = "tidegate", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The same as `tidegate check`.
    #[arg(short = 't', required = true)]
    test: bool,
    #[command(flatten)]
    check: cli::check::Check,
}

#[derive(Subcommand)]
enum Command {
    Run(cli::run::Run),
    Check(cli::check::Check),
    Schema(cli::schema::Schema),
    Demo(cli::demo::Demo),
    Echo(cli::echo::Echo),
    Bench(cli::bench::Bench),
    Import(cli::import::Import),
    Status(cli::status::Status),
    Reload(cli::reload::Reload),
    Upgrade(cli::upgrade::Upgrade),
    Server(cli::server::Server),
    Rebalance(cli::rebalance::Rebalance),
    Connections(cli::connections::Connections),
    Explain(cli::explain::Explain),
    Completions(cli::completions::Completions),
    Man(cli::man::Man),
}

fn main() -> ExitCode {
    // Wrong arguments end in exit code 2, the parser's own.
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Run(run)) => cli::run::run(run),
        Some(Command::Check(check)) => cli::check::run(&check),
        Some(Command::Schema(schema)) => cli::schema::run(&schema),
        Some(Command::Demo(demo)) => cli::demo::run(&demo),
        Some(Command::Echo(echo)) => cli::echo::run(&echo),
        Some(Command::Bench(bench)) => cli::bench::run(bench),
        Some(Command::Import(import)) => cli::import::run(&import),
        Some(Command::Status(status)) => cli::status::run(&status),
        Some(Command::Reload(reload)) => cli::reload::run(&reload),
        Some(Command::Upgrade(upgrade)) => cli::upgrade::run(&upgrade),
        Some(Command::Server(server)) => cli::server::run(&server),
        Some(Command::Rebalance(rebalance)) => cli::rebalance::run(&rebalance),
        Some(Command::Connections(connections)) => cli::connections::run(&connections),
        Some(Command::Explain(explain)) => cli::explain::run(&explain),
        Some(Command::Completions(completions)) => {
            cli::completions::run(&completions, Arguments::command())
        }
        Some(Command::Man(man)) => cli::man::run(&man, Arguments::command()),
        None => cli::check::run(&arguments.check),
    }
}
