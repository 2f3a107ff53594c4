//! `cargo run -p e2e -- …`: builds the tools, runs a control plane in the foreground, shows the demo, prints what a release
//! needs.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Real servers for developing atmos-secrets-operator
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One file under `commands/` each.
#[derive(Subcommand)]
enum Command {
    Bench(commands::bench::Arguments),
    Demo(commands::demo::Arguments),
    ReleaseNotes(commands::release_notes::Arguments),
    Sbom(commands::sbom::Arguments),
    Tools(commands::tools::Arguments),
    Up(commands::up::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(arguments) => commands::bench::run(arguments).await,
        Command::Demo(arguments) => commands::demo::run(arguments).await,
        Command::ReleaseNotes(arguments) => commands::release_notes::run(arguments).await,
        Command::Sbom(arguments) => commands::sbom::run(arguments).await,
        Command::Tools(arguments) => commands::tools::run(arguments).await,
        Command::Up(arguments) => commands::up::run(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
