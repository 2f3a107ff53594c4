//! What the definition of a store means for one namespace: its kind, how its keys are laid out, or why it is refused.
//!
//! Admission checks the same rules earlier, but only as early feedback: what counts is decided here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::store::{AllowedNamespaces, Connection};
use crate::api::{ClusterStoreSpec, Reason, StoreSpec, duration};
use crate::model::backend_key::{KeyLayout, NAMESPACE, StoreKind};
use crate::model::file_template::FileTemplate;
use crate::model::{Problem, StoreView};

/// How often a store may be read at most where it sets nothing: the vendors bill each read.
pub const DEFAULT_MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(60);

const MINUTE: Duration = Duration::from_secs(60);

/// The definition of a store.
#[derive(Clone, Copy, Debug)]
pub enum Definition<'a> {
    /// Of a Store.
    Store(&'a StoreSpec),
    /// Of a ClusterStore.
    ClusterStore(&'a ClusterStoreSpec),
}

impl<'a> Definition<'a> {
    /// What both kinds have.
    #[must_use]
    pub fn connection(self) -> &'a Connection {
        match self {
            Self::Store(spec) => &spec.common,
            Self::ClusterStore(spec) => &spec.common,
        }
    }

    /// The kind.
    ///
    /// # Errors
    /// Not exactly one provider is set.
    pub fn kind(self) -> Result<StoreKind, Problem> {
        let Connection {
            aws_secrets_manager,
            aws_ssm,
            vault,
            azure_key_vault,
            gcp_secret_manager,
            sops,
            prefix: _,
            stack_delimiter: _,
            encoding: _,
            timeout: _,
            min_refresh_interval: _,
            rate_limit: _,
        } = self.connection();
        let kubernetes = match self {
            Self::Store(spec) => spec.kubernetes.is_some(),
            Self::ClusterStore(_) => false,
        };
        let set: Vec<StoreKind> = [
            (aws_secrets_manager.is_some(), StoreKind::AwsSecretsManager),
            (aws_ssm.is_some(), StoreKind::AwsSsm),
            (vault.is_some(), StoreKind::Vault),
            (azure_key_vault.is_some(), StoreKind::AzureKeyVault),
            (gcp_secret_manager.is_some(), StoreKind::GcpSecretManager),
            (sops.is_some(), StoreKind::Sops),
            (kubernetes, StoreKind::Kubernetes),
        ]
        .into_iter()
        .filter_map(|(is_set, kind)| is_set.then_some(kind))
        .collect();
        match set.as_slice() {
            [kind] => Ok(*kind),
            [] => Err(unusable("it sets no provider; set exactly one")),
            [first, second, ..] => Err(unusable(&format!("it sets {first} and {second}; set exactly one provider"))),
        }
    }
}

/// What a store's definition says, defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The kind, if the definition says one.
    pub kind: Option<StoreKind>,
    /// Whether the namespace may use it, and the layout of its keys as that namespace sees them.
    pub view: StoreView,
    /// The shortest interval at which it is read.
    pub min_refresh_interval: Duration,
}

/// Judges the definition of the store called `name` for the Stacks of `namespace`, which carries `labels`.
///
/// The answer for a ClusterStore that does not admit the namespace is the one that a missing ClusterStore gets, whatever
/// else is wrong with it: a namespace cannot find out which ClusterStores exist.
#[must_use]
pub fn facts(definition: Definition<'_>, name: &str, namespace: &str, labels: &BTreeMap<String, String>) -> Facts {
    let connection = definition.connection();
    let refused = match definition {
        Definition::ClusterStore(spec) if !admits(&spec.allowed_namespaces, namespace, labels) => {
            Some(not_available(name, namespace))
        }
        Definition::ClusterStore(_) | Definition::Store(_) => None,
    };
    let view = match refused.map_or_else(|| layout(definition, namespace), Err) {
        Ok(layout) => StoreView::Usable(layout),
        Err(problem) => StoreView::Refused(problem),
    };
    Facts {
        kind: definition.kind().ok(),
        view,
        min_refresh_interval: bounded(
            connection.min_refresh_interval.as_deref(),
            DEFAULT_MIN_REFRESH_INTERVAL,
            Duration::from_secs(10),
            720 * 60 * MINUTE,
        ),
    }
}

fn bounded(text: Option<&str>, default: Duration, least: Duration, most: Duration) -> Duration {
    text.and_then(duration::parse).unwrap_or(default).clamp(least, most)
}

/// The one answer to a namespace that may not use a ClusterStore, and to one that names a ClusterStore that is not there.
#[must_use]
pub fn not_available(name: &str, namespace: &str) -> Problem {
    Problem::new(
        Reason::NamespaceNotAllowed,
        format!(
            "ClusterStore/{name} does not exist or does not admit namespace {namespace}; ask the cluster's \
             administrators to admit it under `allowedNamespaces`"
        ),
    )
}

fn admits(allowed: &AllowedNamespaces, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let AllowedNamespaces { names, selector } = allowed;
    names.iter().any(|name| name == namespace)
        || selector.as_ref().is_some_and(|selector| {
            !selector.match_labels.is_empty()
                && selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(&value.0))
        })
}

fn layout(definition: Definition<'_>, namespace: &str) -> Result<KeyLayout, Problem> {
    let kind = definition.kind()?;
    let connection = definition.connection();
    let mut layout = KeyLayout::new(kind);
    if let Some(prefix) = &connection.prefix {
        layout.prefix.clone_from(prefix);
    }
    if let Some(delimiter) = &connection.stack_delimiter {
        layout.stack_delimiter.clone_from(delimiter);
    }
    if let Some(vault) = &connection.vault {
        layout.has_versions = vault.kv_version.unwrap_or(2) != 1;
    }
    if let Some(template) = connection.sops.as_ref().and_then(|sops| sops.file.as_ref()) {
        let parsed =
            FileTemplate::parse(template).map_err(|error| unusable(&format!("`sops.file` cannot be read {error}")))?;
        layout.file = Some(parsed);
    }
    match definition {
        Definition::Store(spec) => {
            if uses_ambient(&spec.common) {
                return Err(unusable(
                    "`auth.ambient` exists only in a ClusterStore; name credentials of its namespace",
                ));
            }
        }
        Definition::ClusterStore(spec) => {
            layout.contained = contained(spec, kind)?;
            layout.prefix = layout.prefix.replace(NAMESPACE, namespace);
        }
    }
    Ok(layout)
}

/// Whether a store would use the operator's own credentials.
fn uses_ambient(connection: &Connection) -> bool {
    let secrets_manager = connection.aws_secrets_manager.as_ref().and_then(|aws| aws.auth.as_ref());
    let ssm = connection.aws_ssm.as_ref().and_then(|aws| aws.auth.as_ref());
    let kms = connection.sops.as_ref().and_then(|sops| sops.aws_kms.as_ref()).and_then(|kms| kms.auth.as_ref());
    [secrets_manager, ssm, kms].into_iter().flatten().any(|auth| auth.ambient.is_some())
}

/// Whether the prefix of a ClusterStore keeps namespaces apart.
fn contained(spec: &ClusterStoreSpec, kind: StoreKind) -> Result<bool, Problem> {
    let prefix = spec.common.prefix.as_deref().unwrap_or("");
    if !prefix.contains(NAMESPACE) {
        return match spec.shared {
            Some(true) => Ok(false),
            Some(false) | None => Err(unusable(
                "its `prefix` must contain {namespace} as one whole segment, or it must say `shared: true`",
            )),
        };
    }
    match kind {
        StoreKind::AzureKeyVault | StoreKind::GcpSecretManager => {
            return Err(unusable(&format!(
                "{{namespace}} is refused for {kind}, whose keys cannot keep segments apart; say `shared: true` without \
                 it, or use one Store per namespace"
            )));
        }
        StoreKind::AwsSecretsManager
        | StoreKind::AwsSsm
        | StoreKind::Vault
        | StoreKind::Sops
        | StoreKind::Kubernetes => {}
    }
    let inner = prefix.strip_prefix('/').unwrap_or(prefix);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    for segment in inner.split('/') {
        if segment.contains(NAMESPACE) && segment != NAMESPACE {
            return Err(unusable("{namespace} must be one whole segment of its `prefix`"));
        }
        if segment.is_empty() || segment == "." || segment == ".." || segment.contains('%') {
            return Err(unusable("a `prefix` with {namespace} may have no empty segment, no `.`, `..` or `%`"));
        }
    }
    Ok(true)
}

fn unusable(why: &str) -> Problem {
    Problem::new(Reason::Unsupported, format!("the store's definition cannot be used: {why}"))
}

#[cfg(test)]
mod tests;
