//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal};

use super::exit::Failure;
use super::printer::Printer;
use super::process;
use crate::value::SecretValue;

/// Whether a person can be asked: stdin is a terminal and this is no pipeline.
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && process::variable("CI").is_none()
}

/// Asks a question that is answered by yes or no; anything but a yes is no.
///
/// # Errors
/// Stdin cannot be read.
pub async fn confirm(question: &str, printer: &mut Printer) -> Result<bool, Failure> {
    printer.question(&format!("{question} [y/N]"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    })
    .await;
    match answer {
        Ok(Ok(line)) => Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")),
        Ok(Err(_)) | Err(_) => Err(Failure::usage("could not read the answer from the terminal")),
    }
}

/// Reads one line from the terminal without showing it. The terminal's settings come back whatever happens: also when a
/// signal ends the prompt.
///
/// # Errors
/// Interrupted by a signal; there is no terminal.
pub async fn hidden(question: &str) -> Result<SecretValue, Failure> {
    // rpassword turns signals of the keyboard off and raises SIGINT itself while the echo is still off. A handler must
    // be there first, or the process would end before the settings are back.
    let mut signals = Signals::new()?;
    let saved = Saved::now();
    let question = format!("{question}: ");
    let answer = tokio::task::spawn_blocking(move || rpassword::prompt_password(question));
    let answer = tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        answer = answer => match answer {
            Ok(Ok(line)) => Ok(SecretValue::from(line)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Err(Failure::interrupted()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Failure::interrupted()),
            Ok(Err(_)) | Err(_) => Err(Failure::usage("there is no terminal to ask for the value")
                .hint("give the value with --stdin or --file")),
        },
    };
    saved.restore();
    answer
}

/// Does work that a signal ends. After a prompt no signal ends the process by itself any more: its handlers stay.
///
/// # Errors
/// Interrupted by a signal.
pub async fn interruptible<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut signals = Signals::new()?;
    tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = work => Ok(done),
    }
}

/// The signals that end a prompt.
#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 4]);

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|_| Failure::access("could not prepare for Ctrl-C"));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::quit())?,
        ]))
    }

    async fn any(&mut self) {
        let Self([interrupt, terminate, hangup, quit]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// The settings of the terminal as they were.
#[cfg(unix)]
struct Saved(Option<(std::fs::File, rustix::termios::Termios)>);

#[cfg(unix)]
impl Saved {
    fn now() -> Self {
        let terminal = std::fs::File::open("/dev/tty").ok();
        Self(terminal.and_then(|file| rustix::termios::tcgetattr(&file).ok().map(|settings| (file, settings))))
    }

    fn restore(&self) {
        if let Self(Some((file, settings))) = self {
            // Nothing can be done if the terminal is gone.
            let _ = rustix::termios::tcsetattr(file, rustix::termios::OptionalActions::Now, settings);
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn any(&mut self) {
        // Nobody can be told if this fails; the prompt then ends by itself.
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(not(unix))]
struct Saved;

#[cfg(not(unix))]
impl Saved {
    fn now() -> Self {
        Self
    }

    fn restore(&self) {}
}
