//! The operator as a process: arguments, logs, admin endpoints, start and end.

mod admin;
pub mod args;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::{Client, Config};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::args::Args;
use crate::cluster::{self, Objects};
use crate::controller::digest_key;
use crate::controller::{Controller, Identity, Parts, Settings};
use crate::metrics::Metrics;
use crate::value::DigestKey;

/// How long running syncs may take to finish after SIGTERM. Below the 30 s that a kubelet gives.
const GRACE: Duration = Duration::from_secs(10);
/// How often the API server is asked at the start before giving up, and the wait in between.
const START_TRIES: (u32, Duration) = (30, Duration::from_secs(2));

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting: arguments, the cluster, its own rights, the admin port.
pub async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    let mut signals = Signals::listen()?;
    let config = Config::infer().await.context(
        "cannot find a cluster: neither a kubeconfig (KUBECONFIG, ~/.kube/config) nor a Pod's service account is there",
    )?;
    let client = cluster::client(config).context("cannot make a client from the cluster configuration")?;
    let stop = CancellationToken::new();
    let listener = admin::bind(args.listen).await?;
    let address = listener.address;
    let context = admin::Running::default();
    let admin = tokio::spawn(admin::serve(listener, Arc::clone(&context), stop.clone()));

    let started = tokio::select! {
        controller = start(&args, client, stop.clone()) => Some(controller?),
        () = signals.received() => None,
    };
    if let Some(controller) = started {
        let _ = context.set(controller.context());
        let Identity { namespace, user, instance: _ } = &controller.context().identity;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace, user, listen = %address, "started");
        let running = tokio::spawn(controller.run());
        signals.received().await;
        tracing::info!("ending: running syncs may finish");
        stop.cancel();
        if tokio::time::timeout(GRACE, running).await.is_err() {
            tracing::warn!("some syncs did not finish in time; they are done again after the next start");
        }
    }
    stop.cancel();
    admin.await.context("the admin endpoints failed")??;
    Ok(())
}

/// Finds out who this process is, gets the digest key, and puts the controller together.
async fn start(args: &Args, client: Client, stop: CancellationToken) -> anyhow::Result<Controller> {
    let user = who_am_i(&client).await.context("cannot ask the API server who this process is")?;
    let identity = Identity { namespace: args.namespace.clone(), user, instance: args.pod_name.clone() };
    let objects = Objects::new(client.clone());
    let digest_key = digest_key::load_or_create(&objects, &args.namespace).await.with_context(|| {
        format!("the operator needs `get` and `create` on Secret {}/{}", args.namespace, digest_key::SECRET_NAME)
    })?;
    let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
    let parts = Parts {
        client,
        identity,
        settings: Settings { concurrency: usize::from(args.concurrency), panic_on: args.panic_on() },
        digest_key,
        process_key: DigestKey::random().context("the system gave no random bytes")?,
        metrics,
    };
    Ok(Controller::new(parts, stop))
}

/// The name that RBAC knows this process by.
async fn who_am_i(client: &Client) -> anyhow::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let mut tries = 0;
    loop {
        tries += 1;
        let question = SelfSubjectReview::default();
        let answer = tokio::time::timeout(Duration::from_secs(10), api.create(&PostParams::default(), &question)).await;
        match answer {
            Ok(Ok(review)) => {
                let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
                return user.context("the API server answered without a name");
            }
            Ok(Err(kube::Error::Api(status))) if status.code < 500 && status.code != 429 => {
                anyhow::bail!("the API server answered {}", status.code)
            }
            Ok(Err(_)) | Err(_) if tries < START_TRIES.0 => {
                tracing::warn!("the API server does not answer yet; trying again");
                tokio::time::sleep(START_TRIES.1).await;
            }
            Ok(Err(_)) | Err(_) => anyhow::bail!("the API server does not answer"),
        }
    }
}

/// SIGTERM and SIGINT, listened to from the start, so that neither ends the process the hard way.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
