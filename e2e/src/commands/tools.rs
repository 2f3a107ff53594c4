//! `e2e tools`: builds the pinned programs ahead, so that no test has to wait for it.

use std::io::Write as _;

use e2e::tools::{Tool, azure_python, google_client, moto, path};

/// Build the pinned programs, one after the other, and print where they are
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which ones; all if none is named
    #[arg(value_enum)]
    names: Vec<Tool>,
}

pub(crate) async fn run(Arguments { names }: Arguments) -> anyhow::Result<()> {
    let all = names.is_empty();
    let names = if all { Tool::ALL.to_vec() } else { names };
    for tool in names {
        let program = path(tool).await?;
        writeln!(std::io::stdout(), "{}", program.display())?;
    }
    if all {
        writeln!(std::io::stdout(), "{}", moto().await?.display())?;
        writeln!(std::io::stdout(), "{}", google_client().await?.display())?;
        writeln!(std::io::stdout(), "{}", azure_python().await?.display())?;
    }
    Ok(())
}
