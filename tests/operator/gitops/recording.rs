//! Every version that Stacks and stores ever had, and what GitOps tools would have made of each.

use std::collections::BTreeSet;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::judge::{Flux, argocd, flux};
use super::site::LIMIT;

/// A place in the history of our kinds.
pub struct Recording {
    kinds: Vec<(Api<DynamicObject>, String)>,
}

impl Recording {
    /// Begins now. The API server keeps the history; nothing is missed however fast it goes.
    pub async fn start(client: &Client) -> anyhow::Result<Self> {
        let mut kinds = Vec::new();
        for kind in ["Stack", "Store", "ClusterStore"] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("secrets.atmos.tools", "v1alpha1", kind));
            let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let now = objects.list_metadata(&ListParams::default()).await?;
            kinds.push((objects, now.metadata.resource_version.context("a list without a version")?));
        }
        Ok(Self { kinds })
    }

    /// Panics if any version until now would have made Argo CD or Flux give up, or one take for finished what the other
    /// does not. Returns the reasons of all conditions `Ready`.
    pub async fn never_failed(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut reasons = BTreeSet::new();
        for (objects, since) in &self.kinds {
            for version in versions(objects, since).await? {
                let ((health, message), flux) = (argocd(&version), flux(&version));
                let conditions = version["status"]["conditions"].as_array().cloned().unwrap_or_default();
                assert!(conditions.iter().all(|condition| condition["type"] != "Stalled"), "{version}");
                assert!(["Progressing", "Healthy"].contains(&health.as_str()), "{health}: {message}: {version}");
                assert_ne!(flux, Flux::Failed, "{version}");
                assert_eq!(health == "Healthy", flux == Flux::Current, "{health}, but {flux:?}: {version}");
                let ready = conditions.iter().filter(|condition| condition["type"] == "Ready");
                reasons.extend(ready.filter_map(|condition| condition["reason"].as_str().map(str::to_owned)));
            }
        }
        Ok(reasons)
    }
}

/// Every version after `since`, up to those that are stored now.
async fn versions(objects: &Api<DynamicObject>, since: &str) -> anyhow::Result<Vec<Value>> {
    let stored = objects.list_metadata(&ListParams::default()).await?;
    let mut awaited: BTreeSet<String> = stored.items.iter().filter_map(|object| object.resource_version()).collect();
    anyhow::ensure!(!awaited.is_empty(), "nothing is there");
    let mut stream = Box::pin(objects.watch(&WatchParams::default(), since).await?);
    let mut versions = Vec::new();
    while !awaited.is_empty() {
        let next = tokio::time::timeout(LIMIT, stream.try_next()).await??;
        match next.context("the watch ended early")? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                awaited.remove(&object.resource_version().unwrap_or_default());
                versions.push(serde_json::to_value(object)?);
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => anyhow::bail!("the watch failed: {}", status.message),
        }
    }
    Ok(versions)
}
