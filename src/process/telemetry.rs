//! Logs.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use super::args::{LogArgs, LogFormat};

/// Targets that are never logged, whatever the filter says.
///
/// `kube_client` logs whole bodies when an answer cannot be decoded, and the HTTP crates log headers and frames, so a
/// value or a token could come by. The SDK of AWS logs whole requests, that of Azure every address and our own errors once
/// more; `aws_`, `azure_`, `typespec` and `hyper` are all crates that begin so. Our own modules say what matters.
const SILENCED: &[&str] = &[
    "kube_client",
    "kube_runtime",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "tower",
    "tower_http",
    "tokio_util",
    "aws_",
    "azure_",
    "typespec",
    "reqwest",
    "rustify",
    "vaultrs",
];

/// Sends logs to standard error.
///
/// # Errors
/// The filter cannot be read.
pub(super) fn init(args: &LogArgs) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&args.log_level).ok().with_context(|| {
        format!("--log-level {}: expected error, warn, info, debug, trace or a filter", args.log_level)
    })?;
    for target in SILENCED {
        let directive = format!("{target}=off").parse().context("a silenced target is no directive")?;
        filter = filter.add_directive(directive);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
    // The message of a panic may hold anything; only its place is told.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}
