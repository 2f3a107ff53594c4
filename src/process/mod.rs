//! The operator as a process: arguments, logs, admin endpoints, start and end.

mod admin;
pub mod args;
mod outside;
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
/// How often an API server that does not answer is asked at the start before giving up.
const TRIES_IN_SILENCE: u32 = 30;
/// How often one that refuses is: it does so for a moment while it starts itself and knows no accounts and roles yet.
const TRIES_WHEN_REFUSED: u32 = 8;
/// The wait between two tries at the start.
const START_WAIT: Duration = Duration::from_secs(2);

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
    let api_server = config.cluster_url.host().map(str::to_owned);
    let unusable = "cannot make a client from the cluster configuration";
    let client = cluster::client(config.clone()).context(unusable)?;
    let objects = Objects::connect(&config).context(unusable)?;
    let stop = CancellationToken::new();
    let listener = admin::bind(args.listen).await?;
    let address = listener.address;
    let context = admin::Running::default();
    let admin = tokio::spawn(admin::serve(listener, Arc::clone(&context), stop.clone()));

    let started = tokio::select! {
        controller = start(&args, client, objects, api_server.as_deref(), stop.clone()) => Some(controller?),
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

/// Puts the controller together, as soon as the API server says who this process is and lets it have the digest key.
async fn start(
    args: &Args,
    client: Client,
    objects: Objects,
    api_server: Option<&str>,
    stop: CancellationToken,
) -> anyhow::Result<Controller> {
    let mut tries = Tries::default();
    let (user, digest_key) = loop {
        let error = match introduce(&client, &objects, &args.namespace).await {
            Ok(introduced) => break introduced,
            Err(refusal) => tries.failed(refusal)?,
        };
        tracing::warn!(error = format!("{error:#}"), "the API server does not let us start yet; trying again");
        tokio::time::sleep(START_WAIT).await;
    };
    let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
    let parts = Parts {
        client,
        outside: outside::outside(&args.outside, api_server, &user).await?,
        objects,
        identity: Identity { namespace: args.namespace.clone(), user, instance: args.pod_name.clone() },
        settings: Settings { concurrency: usize::from(args.concurrency), panic_on: args.panic_on() },
        digest_key,
        process_key: DigestKey::random().context("the system gave no random bytes")?,
        metrics,
    };
    Ok(Controller::new(parts, stop))
}

/// Why the operator cannot start now.
enum Refusal {
    /// The API server does not answer, or not as one that works.
    Silent(anyhow::Error),
    /// It answers, and refuses.
    Refused(anyhow::Error),
    /// Waiting does not help.
    Hopeless(anyhow::Error),
}

/// How often the start was tried in vain. Silence and refusals are counted apart: an API server that took long until it
/// answered may still refuse for a moment.
#[derive(Default)]
struct Tries {
    silent: u32,
    refused: u32,
}

impl Tries {
    /// Counts one more; returns why it failed if there may be another one.
    fn failed(&mut self, refusal: Refusal) -> anyhow::Result<anyhow::Error> {
        let (tries, most, error) = match refusal {
            Refusal::Silent(error) => (&mut self.silent, TRIES_IN_SILENCE, error),
            Refusal::Refused(error) => (&mut self.refused, TRIES_WHEN_REFUSED, error),
            Refusal::Hopeless(error) => return Err(error),
        };
        *tries += 1;
        if *tries < most { Ok(error) } else { Err(error) }
    }
}

impl Refusal {
    fn of_status(status: u16, error: anyhow::Error) -> Self {
        if (400..500).contains(&status) && status != 429 { Self::Refused(error) } else { Self::Silent(error) }
    }
}

/// The name that RBAC knows this process by, and the digest key.
async fn introduce(client: &Client, objects: &Objects, namespace: &str) -> Result<(String, DigestKey), Refusal> {
    let user = who_am_i(client).await?;
    let digest_key = digest_key::load_or_create(objects, namespace).await.map_err(|error| {
        let refusal = match &error {
            digest_key::Error::Cluster { source, .. } => source.refusal().map_or(0, |refusal| refusal.status),
            digest_key::Error::Malformed { .. } | digest_key::Error::Random => return Refusal::Hopeless(error.into()),
        };
        let needs = format!("the operator needs `get` and `create` on Secret {namespace}/{}", digest_key::SECRET_NAME);
        Refusal::of_status(refusal, anyhow::Error::from(error).context(needs))
    })?;
    Ok((user, digest_key))
}

async fn who_am_i(client: &Client) -> Result<String, Refusal> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (parameters, question) = (PostParams::default(), SelfSubjectReview::default());
    match tokio::time::timeout(Duration::from_secs(10), api.create(&parameters, &question)).await {
        Ok(Ok(review)) => review
            .status
            .and_then(|status| status.user_info)
            .and_then(|user| user.username)
            .ok_or_else(|| Refusal::Hopeless(anyhow::anyhow!("the API server does not say who this process is"))),
        Ok(Err(kube::Error::Api(status))) => {
            let error = anyhow::anyhow!("cannot ask the API server who this process is: it answered {}", status.code);
            Err(Refusal::of_status(status.code, error))
        }
        Ok(Err(_)) | Err(_) => Err(Refusal::Silent(anyhow::anyhow!("the API server does not answer"))),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many failures of this kind are followed by another try.
    fn more_tries(tries: &mut Tries, refusal: impl Fn(anyhow::Error) -> Refusal) -> u32 {
        let mut count = 0;
        while tries.failed(refusal(anyhow::anyhow!("no"))).is_ok() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_long_silence_leaves_all_tries_for_refusals() {
        let mut tries = Tries::default();
        for _ in 1..TRIES_IN_SILENCE {
            assert!(tries.failed(Refusal::Silent(anyhow::anyhow!("no"))).is_ok());
        }
        assert_eq!(more_tries(&mut tries, Refusal::Refused), TRIES_WHEN_REFUSED - 1);
        assert_eq!(more_tries(&mut tries, Refusal::Silent), 0, "the silence is counted on");
    }

    #[test]
    fn what_waiting_does_not_help_ends_the_start() {
        assert_eq!(more_tries(&mut Tries::default(), Refusal::Hopeless), 0);
    }
}
