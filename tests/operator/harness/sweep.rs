//! The search for a test's values everywhere but where they belong, at the end of each test.

use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams, PartialObjectMeta};

use super::{Operator, Tenant};

impl Drop for Tenant {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The test's own runtime is busy with dropping.
        let leaks = std::thread::scope(|scope| scope.spawn(|| in_a_runtime(self)).join());
        match leaks {
            Ok(Ok(leaks)) => assert!(leaks.is_empty(), "values of {} leaked:\n{}", self.namespace, leaks.join("\n")),
            Ok(Err(error)) => panic!("could not search for values of {}: {error:#}", self.namespace),
            Err(_) => panic!("the search for values of {} panicked", self.namespace),
        }
    }
}

fn in_a_runtime(tenant: &Tenant) -> anyhow::Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tenant.leaks())
}

impl Tenant {
    /// Where values of this test are that must not be there.
    async fn leaks(&self) -> anyhow::Result<Vec<String>> {
        let mut places: Vec<(String, String)> = Vec::new();
        for operator in self.cluster.operators() {
            places.extend(told_by(&operator).await?);
        }
        // A client works in the runtime in which it was made.
        let client = self.cluster.client().await?;
        for kind in ["Stack", "Store"] {
            places.push((format!("{kind}s"), self.cluster.all_of(&client, kind, Some(&self.namespace)).await?));
        }
        for kind in ["ClusterStore", "Catalog"] {
            places.push((format!("{kind}s"), self.cluster.all_of(&client, kind, None).await?));
        }
        places.push(("Events".to_owned(), self.all_events(client.clone()).await?));
        places.push(("metadata of Secrets".to_owned(), self.metadata_of_secrets(client).await?));
        let found = places.iter().flat_map(|(place, text)| {
            self.canaries.found_in(text).into_iter().map(move |trace| format!("{place}: {trace}"))
        });
        Ok(found.collect())
    }

    async fn all_events(&self, client: Client) -> anyhow::Result<String> {
        let events: Api<Event> = Api::namespaced(client, &self.namespace);
        Ok(serde_json::to_string(&events.list(&ListParams::default()).await?.items)?)
    }

    /// Digests must not tell values either; `kubectl apply`, which keeps data in an annotation, is not used by tests.
    async fn metadata_of_secrets(&self, client: Client) -> anyhow::Result<String> {
        let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &self.namespace);
        Ok(serde_json::to_string(&secrets.list_metadata(&ListParams::default()).await?.items)?)
    }
}

/// What a process told: its log, its metrics, and what everybody on the machine can see of it.
async fn told_by(operator: &Operator) -> anyhow::Result<Vec<(String, String)>> {
    let id = operator.id();
    let mut told = vec![(format!("log of operator {id}"), read(operator.log())?)];
    if operator.is_running() {
        told.push((format!("metrics of operator {id}"), operator.metrics().await?));
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{id}/{file}");
            told.push((path.clone(), read(Path::new(&path))?));
        }
    }
    Ok(told)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
