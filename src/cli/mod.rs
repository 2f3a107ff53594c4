//! `kubectl atmos-secret`: one file per verb (its arguments and its run), and what the verbs share.
//!
//! Everything happens with the user's own rights, in the cluster and in the stores; the operator is never asked to
//! reveal anything. Only [`printer`] writes to stdout and stderr, and only `get --mask=false` lets a value out.

mod compiled;
mod context;
mod describe;
mod exit;
mod get;
mod identities;
mod list;
mod near;
mod printer;
mod process;
mod prompt;
mod quote;
mod rows;
mod set;
mod validate;
mod verify;
mod version;

use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};
use clap::{Parser, Subcommand};

pub use exit::Exit;
use exit::Failure;
use printer::Printer;

/// How users call the plugin.
const COMMAND: &str = "kubectl atmos-secret";

/// Declared secrets of Atmos stacks in Kubernetes: which there are, which have a value, and their values.
#[derive(Parser, Debug)]
#[command(name = COMMAND, bin_name = COMMAND, version, max_term_width = 110, infer_subcommands = false)]
#[command(
    after_help = "Exit codes: 0 done, 1 a check failed or a value is missing, 2 wrong usage, 3 the cluster or a store \
                        refused, failed or could not tell, 4 a lock is held."
)]
struct Arguments {
    #[command(flatten)]
    cluster: context::ClusterArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    List(list::ListArgs),
    Describe(describe::DescribeArgs),
    Get(get::GetArgs),
    #[command(visible_alias = "add")]
    Set(set::SetArgs),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
}

/// Runs the plugin with the words of its command line, the program's own name first.
pub async fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    process::forbid_core_dumps();
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(error),
    };
    // The first call in the process decides; a second one says so and changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut printer = Printer::of_process();
    let Arguments { cluster, verb } = arguments;
    let result = match verb {
        Verb::List(args) => list::run(&cluster, &args, &mut printer).await,
        Verb::Describe(args) => describe::run(&cluster, &args, &mut printer).await,
        Verb::Get(args) => get::run(&cluster, &args, &mut printer).await,
        Verb::Set(args) => set::run(&cluster, &args, &mut printer).await,
        Verb::Validate(args) => validate::run(&cluster, &args, &mut printer).await,
        Verb::Version(args) => version::run(&cluster, &args, &mut printer).await,
    };
    let exit = result.unwrap_or_else(|failure: Failure| {
        printer.failure(&failure);
        failure.exit
    });
    printer.finish(exit)
}

/// Prints help, the version, or what is wrong with the command line, without repeating a word that may be a value.
fn refuse(mut error: clap::Error) -> Exit {
    let is_wrong = error.use_stderr();
    if matches!(error.kind(), ErrorKind::TooManyValues | ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        let names_an_option = error.get(ContextKind::ValidValue).is_some();
        if !names_an_option {
            error.remove(ContextKind::InvalidValue);
        }
    }
    // clap prints to stderr if it is an error, else to stdout; a closed pipe is no matter.
    let _ = error.print();
    if is_wrong { Exit::Usage } else { Exit::Ok }
}
