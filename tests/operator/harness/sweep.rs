//! The search for a test's values everywhere but where they belong, at the end of each test.

use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams, PartialObjectMeta};

use super::{LIMIT, Operator, Tenant};

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
    // An API server that has just started lists what nobody has asked it for yet only after a while (429).
    runtime.block_on(e2e::wait_until("everything to be searched", LIMIT, async || tenant.leaks().await))
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
            match read(Path::new(&path)) {
                Ok(text) => told.push((path, text)),
                // The operator shows its environment to root alone; to be refused it is as good as to find nothing in it.
                Err(error) if file == "environ" && !e2e::account::is_root() && is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(told)
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn a_leak_is_found_in_every_place() -> anyhow::Result<()> {
    use serde_json::json;
    use std::io::Write as _;

    let tenant = Tenant::new().await?;
    let leaks = tenant.leaks().await?;
    assert_eq!(leaks, Vec::<String>::new());
    // What a test puts there itself stands for what the operator might.
    let [spec, metadata, event, log] = [(); 4].map(|()| tenant.plain_canary());
    tenant.write("Stack", "leaky", json!({"suspend": true, "secrets": {"vars": {"A": {"description": spec}}}})).await?;
    tenant.apply_secret("leaky", json!({"annotations": {"leaked": metadata}}), "Opaque", &[]).await?;
    tenant
        .apply(&json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "leaky"}, "note": event,
            "reportingController": "test", "reportingInstance": "test", "action": "Test", "reason": "Test",
            "type": "Normal", "regarding": {"kind": "Stack", "name": "leaky", "namespace": tenant.namespace}, "eventTime": "2026-01-01T00:00:00.000000Z",
        }))
        .await?;
    let operators = tenant.cluster.operators();
    writeln!(std::fs::File::options().append(true).open(operators[0].log())?, "{{\"leaked\": \"{log}\"}}")?;
    let leaks = tenant.leaks().await?;
    for place in ["Stacks: ", "metadata of Secrets: ", "Events: ", "log of operator "] {
        assert!(leaks.iter().any(|leak| leak.starts_with(place)), "nothing was found in {place}: {leaks:?}");
    }
    for value in [spec, metadata, event, log] {
        assert!(leaks.iter().any(|leak| leak.contains(&value[..value.len() / 2])), "{value} was not found: {leaks:?}");
    }
    // It would fail the test, as it should.
    std::mem::forget(tenant);
    Ok(())
}
