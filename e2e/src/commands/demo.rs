//! `e2e demo`: the operator at work, told step by step.
//!
//! Nothing is staged. Each line that is shown after a `$` is given to a shell as it stands, what it printed is shown
//! below it, and each claim is checked against the API server; one that does not come true ends the demo with an error.

mod cluster;
mod manifests;
mod operator;
mod programs;
mod shell;
mod story;
mod witness;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::cluster::{Stage, Where};
use self::operator::Operator;
use self::shell::Shell;

/// Show the operator at work: a Stack, a missing value, a rotation, a repair
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where: a control plane of its own, or the cluster of the current kubectl context, which is left as it was found
    #[arg(long, env = "DEMO_CONTEXT", value_enum, default_value_t = Where::Local, value_name = "WHERE")]
    context: Where,
    /// Print values of secrets too
    #[arg(long)]
    show_values: bool,
    /// Where the operator and the plugin are, instead of building them
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { context, show_values, programs } = arguments;
    let mut ends = Ends::new()?;
    let (stage, shell) = tokio::select! {
        prepared = prepare(context, programs) => prepared?,
        () = ends.asked() => anyhow::bail!(INTERRUPTED),
    };
    let told = tokio::select! {
        told = tell(&stage, &shell, show_values) => told,
        () = ends.asked() => Err(anyhow::anyhow!(INTERRUPTED)),
    };
    let told = match told {
        Ok(mut operator) if std::io::stdout().is_terminal() => {
            story::invite(&stage, &shell, &operator);
            tokio::select! {
                ended = operator.ended() => Err(ended),
                () = ends.asked() => Ok(()),
            }
        }
        Ok(_operator) => Ok(()),
        Err(error) => Err(error),
    };
    // Whatever happened: somebody else's cluster is left as it was found. A second Ctrl-C ends even that.
    let cleaned = tokio::select! {
        cleaned = stage.clean_up(&shell) => cleaned,
        () = ends.asked() => Err(anyhow::anyhow!("interrupted while cleaning up; the next demo there finishes that")),
    };
    told.and(cleaned)
}

const INTERRUPTED: &str = "the demo was interrupted before its end";

/// Ctrl-C and SIGTERM.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn tell(stage: &Stage, shell: &Shell, show_values: bool) -> anyhow::Result<Operator> {
    story::Story { stage, shell, show_values }.tell().await
}

async fn prepare(context: Where, programs: Option<PathBuf>) -> anyhow::Result<(Stage, Shell)> {
    let programs = programs::find(programs).await?;
    let folder = manifests::lay_out(&programs)?;
    let shell = Shell::new(folder);
    let stage = Stage::set(context, &shell).await?;
    Ok((stage, shell))
}
