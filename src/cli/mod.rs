//! `kubectl atmos-secret`: one file per verb (its arguments and its run), and what the verbs share.
//!
//! Everything happens with the user's own rights, in the cluster and in the stores; the operator is never asked to
//! reveal anything. Only `printer` writes to stdout and stderr, and only `get --mask=false` lets a value out.

mod compiled;
mod context;
mod credentials;
mod delete;
mod describe;
mod exit;
mod files;
mod get;
mod identities;
mod keygen;
mod list;
mod local;
mod printer;
mod process;
mod prompt;
mod rekey;
mod rows;
mod set;
mod sops_stores;
mod validate;
mod verify;
mod version;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

pub use exit::Exit;
use exit::Failure;
use printer::Printer;

use crate::model::{near, quote};

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
    #[command(visible_aliases = ["rm", "unset"])]
    Delete(delete::DeleteArgs),
    Keygen(keygen::KeygenArgs),
    Rekey(rekey::RekeyArgs),
    Files(files::FilesArgs),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
}

/// Runs the plugin with the words of its command line, the program's own name first.
pub async fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    let words: Vec<OsString> = words.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, &words),
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
        Verb::Delete(args) => delete::run(&cluster, &args, &mut printer).await,
        Verb::Keygen(args) => keygen::run(&cluster, &args, &mut printer).await,
        Verb::Rekey(args) => rekey::run(&cluster, &args, &mut printer).await,
        Verb::Files(args) => files::run(&cluster, &args, &mut printer).await,
        Verb::Validate(args) => validate::run(&cluster, &args, &mut printer).await,
        Verb::Version(args) => version::run(&cluster, &args, &mut printer).await,
    };
    let exit = result.unwrap_or_else(|failure: Failure| {
        printer.failure(&failure);
        failure.exit
    });
    printer.finish(exit)
}

/// Prints help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error, words: &[OsString]) -> Exit {
    if !error.use_stderr() {
        // A closed pipe is no matter.
        let _ = error.print();
        return Exit::Ok;
    }
    // Words of `set` that it does not know may be a value: they are not repeated.
    let is_set = words.iter().any(|word| word == "set" || word == "add");
    let repeats_a_word = matches!(
        error.kind(),
        ErrorKind::UnknownArgument
            | ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
    );
    if is_set && repeats_a_word {
        let failure =
            Failure::usage("`set` does not know a word of this command line, which is not repeated: it may be a value");
        Printer::of_process().failure(&match error.get(ContextKind::SuggestedArg) {
            Some(ContextValue::String(flag)) => failure.hint(format!("did you mean {flag}?")),
            Some(_) | None => failure.hint(format!("values are typed at the prompt; see `{COMMAND} set --help`")),
        });
    } else {
        let _ = error.print();
    }
    Exit::Usage
}
