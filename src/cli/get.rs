//! `get`: the value of one declared secret, masked unless asked otherwise.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::compiled::{Place, Way, compile};
use super::context::{Cluster, ClusterArgs, StackArgs, StoreArgs};
use super::exit::{Exit, Failure};
use super::local::FileArgs;
use super::printer::Printer;
use super::quote::quote;
use crate::api::Reason;
use crate::backend::{Error, ErrorKind};
use crate::model::path::{LeafError, Path};
use crate::model::render::finding;
use crate::model::{Fetched, Finding, PlannedSecret, Problem};
use crate::value::SecretValue;

/// What stands for a value that is not shown: the same as in Atmos.
const MASKED: &str = "<MASKED>";

/// Read the value of a declared secret from its store, with your own rights; masked unless --mask=false
///
/// Exit code 1 if there is no value, 3 if it cannot be read. A declared default stands in for a missing value.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The declared secret
    name: String,
    #[command(flatten)]
    stack: StackArgs,
    /// How to print: the text; a JSON string; or NAME=VALUE, quoted so that a shell reads it back
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Print the bytes of the value alone, without a line feed at the end; needs --mask=false
    #[arg(short, long)]
    raw: bool,
    /// One leaf of a JSON or YAML value
    #[arg(long, help = r#"One leaf of a JSON or YAML value, such as .credentials["user.name"][0]"#, value_name = "PATH", value_parser = parse_path)]
    path: Option<Path>,
    /// Print the mask instead of the value
    #[arg(
        help = "Print <MASKED> instead of the value",
        long, env = "ATMOS_MASK", value_name = "BOOL", action = ArgAction::Set, value_parser = BoolishValueParser::new(),
        default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true"
    )]
    mask: bool,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Env,
}

fn parse_path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| error.to_string())
}

/// Runs the verb.
///
/// # Errors
/// Check failed: there is no value. Usage. Access: the value cannot be read.
pub async fn run(cluster: &ClusterArgs, args: &GetArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    check(args)?;
    args.files.check()?;
    let cluster = Cluster::connect(cluster).await?;
    let stack = cluster.stack(&args.stack, printer).await?;
    let compiled = compile(&cluster, &stack).await?;
    let secret = compiled.pick(&args.name, args.stack.component())?;
    let fetched = match &secret.read {
        // The plan's problem is what `finding` reports.
        Err(_) => Fetched::Unknown,
        Ok(read) => {
            let way = Way { stores: &args.stores, files: &args.files, opens_files: true, overwrites_managed: false };
            match compiled.open(read, way).await {
                Err(error) => Fetched::Error(error),
                Ok(Place { connected, key, title: _ }) => {
                    let answer = connected.backend.read(&[key]).await.into_iter().next();
                    let unanswered = || Error::new(ErrorKind::Unexpected, "the store gave no answer for the key");
                    answer.unwrap_or_else(|| Err(unanswered())).map_or_else(Fetched::Error, Fetched::Value)
                }
            }
        }
    };
    let value = match finding(secret, fetched) {
        // A document is shown whole.
        Finding::Initialized { value, keys: _, version: _, from_default } => {
            if from_default {
                printer.info(&format!("{} has no value: this is its declared default", args.name));
            }
            value
        }
        Finding::Missing(problem) => return Err(missing(args, secret, &problem)),
        Finding::Error { problem, transient: _ } => return Err(unreadable(&problem)),
        Finding::Unknown => return Err(Failure::access(format!("could not read {}", args.name))),
    };
    match &args.path {
        Some(path) => show(&leaf(path, &value, &args.name)?, args, printer),
        None => show(&value, args, printer),
    }
}

/// What the flags say together, before anything is asked.
fn check(args: &GetArgs) -> Result<(), Failure> {
    if args.raw && args.output != Output::Text {
        return Err(Failure::usage("--raw prints the bytes alone: it does not go with --output json or env"));
    }
    if args.raw && args.mask {
        return Err(Failure::usage("--raw prints the value itself, but values are masked").hint("add --mask=false"));
    }
    Ok(())
}

fn missing(args: &GetArgs, secret: &PlannedSecret, problem: &Problem) -> Failure {
    let failure = Failure::missing(format!("{}: {}", problem.reason, problem.message));
    if problem.reason != Reason::ValueMissing {
        return failure;
    }
    let component = secret.component.split_once('/').map(|(_, name)| format!(" -c {name}")).unwrap_or_default();
    let stack = args.stack.stack().map(|stack| format!(" -s {stack}")).unwrap_or_default();
    failure.hint(format!("set it with `kubectl atmos-secret set {}{stack}{component}`", secret.name))
}

fn unreadable(problem: &Problem) -> Failure {
    let failure = Failure::access(format!("{}: {}", problem.reason, problem.message));
    if problem.reason == Reason::NoMatchingKey {
        return failure.hint(super::set::KEY_HINT);
    }
    if problem.reason == Reason::EndpointNotAllowed {
        return failure.hint(super::set::ENDPOINT_HINT);
    }
    if matches!(problem.reason, Reason::AccessDenied | Reason::GrantMissing) {
        return failure.hint(
            "values are read with your own rights, not with the operator's; `kubectl auth can-i --list` shows them",
        );
    }
    failure
}

fn leaf(path: &Path, value: &SecretValue, name: &str) -> Result<SecretValue, Failure> {
    path.leaf(value).map_err(|error| match error {
        LeafError::NotFound { at, siblings: _ } => {
            Failure::missing(format!("{}: the value of {name} has nothing at {at}", Reason::PathNotFound))
        }
        LeafError::NotStructured => Failure::access(format!(
            "{}: --path is given, but the value of {name} is no JSON or YAML document with structure",
            Reason::NotStructured
        )),
        LeafError::TooLarge => Failure::access(format!("{}: the value of {name} is too large", Reason::ValueTooLarge)),
    })
}

fn show(value: &SecretValue, args: &GetArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    if args.mask {
        match args.output {
            Output::Text => printer.line(MASKED),
            Output::Json => printer.line(&format!("\"{MASKED}\"")),
            Output::Env => printer.line(&format!("{}='{MASKED}'", args.name)),
        }
        return Ok(Exit::Ok);
    }
    let is_text = std::str::from_utf8(value.expose()).is_ok();
    if !args.raw && printer.stdout_is_terminal() && !is_fit_for_terminal(value) && args.output != Output::Json {
        return Err(Failure::usage(format!("the value of {} is binary, or would control the terminal", args.name))
            .hint("send it to a file or a pipe, or print it all the same with --raw"));
    }
    match args.output {
        Output::Text if args.raw => printer.value(b"", value, b""),
        Output::Text => printer.value(b"", value, b"\n"),
        Output::Json if !is_text => {
            return Err(Failure::usage(format!("the value of {} is not UTF-8: JSON cannot hold it", args.name))
                .hint("print its bytes with --raw"));
        }
        Output::Json => printer.value(b"", &json_string(value), b"\n"),
        Output::Env => {
            let quoted = quote(value).ok_or_else(|| {
                Failure::usage(format!("the value of {} holds a NUL: no environment variable can", args.name))
                    .hint("print its bytes with --raw")
            })?;
            printer.value(format!("{}=", args.name).as_bytes(), &quoted, b"\n");
        }
    }
    if !printer.stdout_is_terminal() {
        printer.warning(&format!("the value of {} went to something that is not a terminal, unmasked", args.name));
    }
    Ok(Exit::Ok)
}

/// Whether a terminal shows these bytes and does nothing else with them.
fn is_fit_for_terminal(value: &SecretValue) -> bool {
    std::str::from_utf8(value.expose())
        .is_ok_and(|text| text.chars().all(|character| matches!(character, '\n' | '\t') || !character.is_control()))
}

/// A JSON string (RFC 8259, section 7) in which every character that a terminal would act on is escaped. Written by hand,
/// so that the text stays in one buffer that is zeroed.
fn json_string(value: &SecretValue) -> SecretValue {
    let text = std::str::from_utf8(value.expose()).unwrap_or_default();
    // Six bytes for each: the worst case, so that no copy stays behind when the buffer grows.
    let mut json = Vec::with_capacity(text.len().saturating_mul(6).saturating_add(2));
    json.push(b'"');
    for character in text.chars() {
        match character {
            '"' => json.extend_from_slice(b"\\\""),
            '\\' => json.extend_from_slice(b"\\\\"),
            '\n' => json.extend_from_slice(b"\\n"),
            '\r' => json.extend_from_slice(b"\\r"),
            '\t' => json.extend_from_slice(b"\\t"),
            character if character.is_control() => {
                // C0, DEL and C1 are all below U+00A0.
                json.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            character => json.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    json.push(b'"');
    SecretValue::new(json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_text_is_fit_for_a_terminal() {
        for (bytes, fit) in [
            (&b"text\twith\nlines"[..], true),
            ("ünïcödé".as_bytes(), true),
            (b"", true),
            (b"\x1b[2J", false),
            (b"\xff\xfe", false),
            ("\u{9b}31m".as_bytes(), false),
            (b"cr\r", false),
        ] {
            assert_eq!(is_fit_for_terminal(&SecretValue::new(bytes.to_vec())), fit, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_json_string_reads_back(text in "\\PC*|[\\x00-\\x9f]*") {
            let json = json_string(&SecretValue::new(text.clone().into_bytes()));
            prop_assert_eq!(serde_json::from_slice::<String>(json.expose()).ok(), Some(text));
            prop_assert!(is_fit_for_terminal(&json));
        }
    }
}
