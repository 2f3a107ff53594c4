//! `e2e up`: a control plane in the foreground.

use std::io::Write as _;

use e2e::{ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

use super::say;

/// Run a control plane until Ctrl-C
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out kube-controller-manager
    #[arg(long)]
    no_controller_manager: bool,
    /// Let etcd wait for the disk, as in production
    #[arg(long)]
    fsync: bool,
}

pub(crate) async fn run(Arguments { no_controller_manager, fsync }: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let options = Options { controller_manager: !no_controller_manager, fsync, ..Options::default() };
    let control_plane = tokio::select! {
        control_plane = ControlPlane::start(options) => control_plane?,
        interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        _ = terminate.recv() => return Ok(()),
    };
    say(format_args!(
        "a control plane is up at {}; its files are in {}",
        control_plane.url(),
        control_plane.folder().display()
    ));
    say(format_args!("use it from another terminal with the line below, end it with Ctrl-C"));
    writeln!(std::io::stdout(), "export KUBECONFIG={}", control_plane.admin_kubeconfig().display())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    say(format_args!("ending the control plane"));
    Ok(())
}
