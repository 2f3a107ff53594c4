//! Watches the quickstart's Secrets and ConfigMaps, to say how soon an effect follows its cause.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use futures::stream::{BoxStream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, timeout};

use super::cluster::NAMESPACE;

/// What follows usually follows in well under a second; a busy machine takes longer, and says so.
const LIMIT: Duration = Duration::from_secs(30);

/// Content of a Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// One version of an object, as it came from the API server.
pub(super) enum Seen {
    Secret { name: String, data: Data },
    ConfigMap { name: String, data: BTreeMap<String, String> },
}

/// See the module.
pub(super) struct Witness {
    events: BoxStream<'static, Seen>,
    /// As last seen, by name.
    secrets: BTreeMap<String, Data>,
}

impl Witness {
    /// Begins to watch.
    pub(super) fn new(client: &Client) -> Self {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let secrets = watcher(secrets, watcher::Config::default()).default_backoff().filter_map(async |event| {
            let object = applied(event)?;
            let name = object.name_any();
            let data = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
            Some(Seen::Secret { name, data })
        });
        let config_maps =
            watcher(config_maps, watcher::Config::default()).default_backoff().filter_map(async |event| {
                let object = applied(event)?;
                Some(Seen::ConfigMap { name: object.name_any(), data: object.data.unwrap_or_default() })
            });
        let events = futures::stream::select(secrets.boxed(), config_maps.boxed()).boxed();
        Self { events, secrets: BTreeMap::new() }
    }

    async fn next(&mut self) -> anyhow::Result<Seen> {
        let seen = self.events.next().await.context("the watch ended")?;
        if let Seen::Secret { name, data } = &seen {
            self.secrets.insert(name.clone(), data.clone());
        }
        Ok(seen)
    }

    /// The present content of a Secret, as soon as it is there.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    pub(super) async fn secret(&mut self, name: &str) -> anyhow::Result<Data> {
        let find = async {
            loop {
                if let Some(data) = self.secrets.get(name) {
                    return anyhow::Ok(data.clone());
                }
                self.next().await?;
            }
        };
        let found = timeout(LIMIT, find).await;
        found.with_context(|| format!("waited {LIMIT:?} for Secret {name}"))?
    }

    /// Whether a Secret was ever there.
    pub(super) fn has_secret(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// How long after the first object that is the `cause` the first one came that is the `effect`.
    ///
    /// ConfigMaps and Secrets come by two connections, so the effect may be seen first; then the answer is zero.
    ///
    /// # Errors
    ///
    /// When one of them does not come in time.
    pub(super) async fn reaction(
        &mut self,
        what: &str,
        mut cause: impl FnMut(&Seen) -> bool,
        mut effect: impl FnMut(&Seen) -> bool,
    ) -> anyhow::Result<Duration> {
        let (mut began, mut ended) = (None, None);
        let watch = async {
            loop {
                let seen = self.next().await?;
                let now = Instant::now();
                if began.is_none() && cause(&seen) {
                    began = Some(now);
                } else if ended.is_none() && effect(&seen) {
                    ended = Some(now);
                }
                if let (Some(began), Some(ended)) = (began, ended) {
                    return anyhow::Ok(ended.duration_since(began));
                }
            }
        };
        match timeout(LIMIT, watch).await {
            Ok(reaction) => reaction,
            Err(_elapsed) if began.is_none() => {
                anyhow::bail!("waited {LIMIT:?} in vain for what should lead to {what}")
            }
            Err(_elapsed) => anyhow::bail!("waited {LIMIT:?} in vain for {what}"),
        }
    }
}

/// Errors only delay a watch, which begins again by itself; the deadline decides.
fn applied<K>(event: Result<Event<K>, watcher::Error>) -> Option<K> {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => Some(object),
        Ok(Event::Delete(_) | Event::Init | Event::InitDone) | Err(_) => None,
    }
}
