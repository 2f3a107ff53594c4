//! `e2e sbom`: what the released programs are made of, as SPDX.
//!
//! Written here and not by a tool from outside, because the answer is cargo's own: `cargo tree` says what is compiled for a
//! system, without what only tests use, `cargo metadata` the licences, and Cargo.lock the checksums. Nothing else has to be
//! trusted, and the same source gives the same document.

mod crates;
mod spdx;

use jiff::Timestamp;

use super::print;

/// Print the bill of materials of the two programs: SPDX 2.3, as JSON
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The system that they were built for
    #[arg(long, default_value = "x86_64-unknown-linux-gnu", value_name = "TRIPLE")]
    target: String,
    /// When it was made, which for a release is the time of its commit; default: now
    #[arg(long, value_name = "TIME")]
    created: Option<Timestamp>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { target, created } = arguments;
    let crates = crates::of(&target)?;
    let document = spdx::document(&crates, &target, created.unwrap_or_else(Timestamp::now));
    print(format_args!("{}", serde_json::to_string_pretty(&document)?));
    Ok(())
}
