//! The operator.

use std::process::ExitCode;

use atmos_secrets::memory;
use atmos_secrets::process::{self, args::Args};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: memory::Zeroing = memory::ZEROING;

fn main() -> ExitCode {
    memory::forbid_dumps();
    // Before anything that may make a TLS client: two providers in one process would make rustls panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_park(memory::wipe_stack).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    match runtime.block_on(process::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the one line that says why the process ends")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
