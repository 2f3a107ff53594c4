//! The plugin `kubectl atmos-secret`: runs the command line and turns its end into an exit status.

use std::process::ExitCode;

use atmos_secrets::cli::{self, Exit};
use atmos_secrets::memory;

#[global_allocator]
static ALLOCATOR: memory::Zeroing = memory::ZEROING;

fn main() -> ExitCode {
    memory::forbid_dumps();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Exit::Access.into();
    };
    let exit = runtime.block_on(cli::run(std::env::args_os()));
    // A prompt that was interrupted still waits for a key in its thread: do not wait for it.
    runtime.shutdown_background();
    exit.into()
}
