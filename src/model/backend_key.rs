//! Where a coordinate lies in a store: the composition of keys, as Atmos has it, and what may not be a key.
//!
//! | kind | key | default prefix, delimiter |
//! |---|---|---|
//! | `awsSecretsManager`, `awsSsm`, `vault` | `<prefix>/<stack pieces>/<component pieces>/<name>` | none, `-` (vault `/`) |
//! | `azureKeyVault` | the same joined by `-`, every other character a `-`, runs of `-` one | none, `-` |
//! | `gcpSecretManager` | the same joined by `_`, `/` a `_`, `__` once a `_`, ends trimmed | none, `-` |
//! | `sops` | `<file>#<name>`; files `<stack>.<component>.enc.yaml`, `<stack>.enc.yaml`, `global.enc.yaml` | none |
//! | `kubernetes` | `<Secret>#<name>`; Secrets `<prefix>.<stack>.<component>`, `<prefix>.<stack>`, `<prefix>` | `atmos` |
//!
//! The first five follow `pkg/store/providers/keys.go` of Atmos, but a part that the scope leaves empty is left out on
//! every kind. The prefix of a sops store, its segments joined by `.`, comes before the file name; so with `{namespace}`
//! in it no namespace reaches another's files, as a namespace holds no `.`.

use crate::api::{Reason, Scope};
use crate::model::file_template::FileTemplate;
use crate::model::key_rules::{arn_rule, segments_inside, service_rule};
use crate::model::{Coordinate, Problem};

/// What `{namespace}` in the prefix of a ClusterStore is replaced by: the consuming Stack's namespace.
pub const NAMESPACE: &str = "{namespace}";

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKind {
    /// AWS Secrets Manager.
    AwsSecretsManager,
    /// AWS Systems Manager Parameter Store.
    AwsSsm,
    /// HashiCorp Vault.
    Vault,
    /// Azure Key Vault.
    AzureKeyVault,
    /// Google Cloud Secret Manager.
    GcpSecretManager,
    /// SOPS files in ConfigMaps or Secrets.
    Sops,
    /// Secrets of the namespace.
    Kubernetes,
}

impl StoreKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::AwsSecretsManager,
        Self::AwsSsm,
        Self::Vault,
        Self::AzureKeyVault,
        Self::GcpSecretManager,
        Self::Sops,
        Self::Kubernetes,
    ];

    /// The field of a Store that chooses the kind; also the word in status and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwsSecretsManager => "awsSecretsManager",
            Self::AwsSsm => "awsSsm",
            Self::Vault => "vault",
            Self::AzureKeyVault => "azureKeyVault",
            Self::GcpSecretManager => "gcpSecretManager",
            Self::Sops => "sops",
            Self::Kubernetes => "kubernetes",
        }
    }

    fn default_prefix(self) -> &'static str {
        match self {
            Self::Kubernetes => "atmos",
            Self::AwsSecretsManager
            | Self::AwsSsm
            | Self::Vault
            | Self::AzureKeyVault
            | Self::GcpSecretManager
            | Self::Sops => "",
        }
    }

    fn default_delimiter(self) -> &'static str {
        match self {
            Self::Vault => "/",
            Self::AwsSecretsManager
            | Self::AwsSsm
            | Self::AzureKeyVault
            | Self::GcpSecretManager
            | Self::Sops
            | Self::Kubernetes => "-",
        }
    }

    fn keeps_versions(self) -> bool {
        match self {
            Self::AwsSecretsManager | Self::AwsSsm | Self::Vault | Self::AzureKeyVault | Self::GcpSecretManager => true,
            Self::Sops | Self::Kubernetes => false,
        }
    }

    /// Whether names that differ in case alone are one name: Key Vault's are
    /// (<https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates>).
    #[must_use]
    pub fn is_caseless(self) -> bool {
        match self {
            Self::AzureKeyVault => true,
            Self::AwsSecretsManager
            | Self::AwsSsm
            | Self::Vault
            | Self::GcpSecretManager
            | Self::Sops
            | Self::Kubernetes => false,
        }
    }

    /// What joins the parts of a key; `None` where names are kept inside objects.
    fn joint(self) -> Option<&'static str> {
        match self {
            Self::AwsSecretsManager | Self::AwsSsm | Self::Vault => Some("/"),
            Self::AzureKeyVault => Some("-"),
            Self::GcpSecretManager => Some("_"),
            Self::Sops | Self::Kubernetes => None,
        }
    }
}

impl std::fmt::Display for StoreKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How one store, as one namespace sees it, lays out its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    /// The kind.
    pub kind: StoreKind,
    /// Put before every key; `{namespace}` is already replaced.
    pub prefix: String,
    /// Splits the stack's name.
    pub stack_delimiter: String,
    /// For sops: the template of file names.
    pub file: Option<FileTemplate>,
    /// Whether the prefix keeps namespaces apart, so that no key may lead out of it.
    pub contained: bool,
    /// Whether the store keeps versions that a declaration can ask for.
    pub has_versions: bool,
}

impl KeyLayout {
    /// The layout of a store that sets nothing.
    #[must_use]
    pub fn new(kind: StoreKind) -> Self {
        Self {
            kind,
            prefix: kind.default_prefix().to_owned(),
            stack_delimiter: kind.default_delimiter().to_owned(),
            file: None,
            contained: false,
            has_versions: kind.keeps_versions(),
        }
    }

    /// The key of a coordinate.
    ///
    /// # Errors
    /// `InvalidKeyName` if the service would refuse it, or if it led out of a prefix that keeps namespaces apart.
    pub fn key(&self, coordinate: &Coordinate) -> Result<String, Problem> {
        let key = self.compose(coordinate);
        let checked = match self.kind.joint() {
            Some(_) if self.contained => segments_inside(self.parts(coordinate).iter().skip(1).map(String::as_str)),
            Some(_) | None => Ok(()),
        };
        checked
            .and_then(|()| self.computed_name_rule(coordinate))
            .and_then(|()| service_rule(self.kind, &key))
            .map_err(|rule| {
                Problem::new(
                    Reason::InvalidKeyName,
                    format!(
                        "{coordinate} would have the key `{key}`, which a store of kind {} cannot have: {rule}; change \
                         the name, the store's prefix, or set `backendKey`",
                        self.kind
                    ),
                )
            })?;
        Ok(key)
    }

    /// The key that a declaration's `backendKey` names: the text itself, once it is known to be allowed.
    ///
    /// # Errors
    /// `InvalidKeyName`, as [`key`](Self::key) has it; where the prefix keeps namespaces apart, the key must lie inside.
    pub fn explicit(&self, backend_key: &str) -> Result<String, Problem> {
        let arn = match self.kind {
            StoreKind::AwsSecretsManager => arn_rule(backend_key),
            StoreKind::AwsSsm
            | StoreKind::Vault
            | StoreKind::AzureKeyVault
            | StoreKind::GcpSecretManager
            | StoreKind::Sops
            | StoreKind::Kubernetes => None,
        };
        let allowed = arn.unwrap_or_else(|| service_rule(self.kind, backend_key));
        allowed.and_then(|()| self.containment_rule(backend_key)).map_err(|rule| {
            Problem::new(
                Reason::InvalidKeyName,
                format!("`backendKey` `{backend_key}` cannot be a key of a store of kind {}: {rule}", self.kind),
            )
        })?;
        Ok(backend_key.to_owned())
    }

    /// The key without asking whether it is allowed.
    #[must_use]
    pub fn compose(&self, coordinate: &Coordinate) -> String {
        match self.kind {
            StoreKind::Sops => format!("{}#{}", self.file_name(coordinate), coordinate.name),
            StoreKind::Kubernetes => format!("{}#{}", self.secret_name(coordinate), coordinate.name),
            StoreKind::AwsSecretsManager
            | StoreKind::AwsSsm
            | StoreKind::Vault
            | StoreKind::AzureKeyVault
            | StoreKind::GcpSecretManager => self.join(&self.parts(coordinate)),
        }
    }

    /// The prefix, the pieces of the stack, those of the component, and the name, which is never split.
    fn parts(&self, coordinate: &Coordinate) -> Vec<String> {
        let mut parts = vec![self.prefix.clone()];
        if !coordinate.stack.is_empty() {
            if self.stack_delimiter.is_empty() {
                // As Go's `strings.Split` does with an empty separator.
                parts.extend(coordinate.stack.chars().map(String::from));
            } else {
                parts.extend(coordinate.stack.split(&self.stack_delimiter).map(str::to_owned));
            }
        }
        if !coordinate.component.is_empty() {
            parts.extend(coordinate.component.split('/').map(str::to_owned));
        }
        parts.push(coordinate.name.clone());
        parts
    }

    fn join(&self, parts: &[String]) -> String {
        // One pass from the left, not repeated: three slashes become two.
        let joined = parts.join(self.kind.joint().unwrap_or("/")).replace("//", "/");
        match self.kind {
            StoreKind::AzureKeyVault => azure_name(&joined),
            StoreKind::GcpSecretManager => joined.replace('/', "_").replace("__", "_").trim_matches('_').to_owned(),
            StoreKind::AwsSecretsManager
            | StoreKind::AwsSsm
            | StoreKind::Vault
            | StoreKind::Sops
            | StoreKind::Kubernetes => joined,
        }
    }

    fn file_name(&self, coordinate: &Coordinate) -> String {
        let file = match &self.file {
            Some(template) => template.render(&coordinate.stack, &coordinate.component),
            None => default_file(
                coordinate.scope,
                &coordinate.stack.replace('/', "."),
                &coordinate.component.replace('/', "."),
            ),
        };
        format!("{}{file}", self.file_prefix())
    }

    /// The file of a coordinate in a tree of SOPS files: named as in the cluster, but a `/` in stack or component makes
    /// folders, as in Atmos.
    #[must_use]
    pub fn tree_file(&self, coordinate: &Coordinate) -> String {
        let file = match &self.file {
            Some(template) => template.render_in_tree(&coordinate.stack, &coordinate.component),
            None => default_file(coordinate.scope, &coordinate.stack, &coordinate.component),
        };
        format!("{}{file}", self.file_prefix())
    }

    /// The prefix of a sops store as the start of a file name: empty, or with a `.` at its end.
    fn file_prefix(&self) -> String {
        self.prefix
            .split('/')
            .filter(|segment| !segment.is_empty())
            .fold(String::new(), |start, segment| format!("{start}{segment}."))
    }

    fn secret_name(&self, coordinate: &Coordinate) -> String {
        [self.prefix.as_str(), &coordinate.stack, &coordinate.component]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| part.to_lowercase().replace(['/', '_'], "-"))
            .collect::<Vec<_>>()
            .join(".")
    }

    /// Names that a computed key of a sops store may not have, though a file can hold them.
    fn computed_name_rule(&self, coordinate: &Coordinate) -> Result<(), String> {
        match self.kind {
            StoreKind::Sops if coordinate.name.ends_with("_unencrypted") => {
                Err("sops leaves names that end in `_unencrypted` in the clear".to_owned())
            }
            StoreKind::Sops
            | StoreKind::AwsSecretsManager
            | StoreKind::AwsSsm
            | StoreKind::Vault
            | StoreKind::AzureKeyVault
            | StoreKind::GcpSecretManager
            | StoreKind::Kubernetes => Ok(()),
        }
    }

    fn containment_rule(&self, key: &str) -> Result<(), String> {
        if !self.contained {
            return Ok(());
        }
        match self.kind {
            StoreKind::Sops | StoreKind::Kubernetes => {
                let prefix = self.file_prefix();
                match key.strip_prefix(&prefix) {
                    Some(_) => Ok(()),
                    None => Err(format!("file names of this store start with `{prefix}`")),
                }
            }
            StoreKind::AwsSecretsManager
            | StoreKind::AwsSsm
            | StoreKind::Vault
            | StoreKind::AzureKeyVault
            | StoreKind::GcpSecretManager => {
                let prefix = format!("{}/", self.prefix.trim_end_matches('/'));
                match key.strip_prefix(&prefix) {
                    Some(rest) => segments_inside(rest.split('/')),
                    None => Err(format!("keys of this store start with `{prefix}`")),
                }
            }
        }
    }
}

fn default_file(scope: Scope, stack: &str, component: &str) -> String {
    match scope {
        Scope::Instance => format!("{stack}.{component}.enc.yaml"),
        Scope::Stack => format!("{stack}.enc.yaml"),
        Scope::Global => "global.enc.yaml".to_owned(),
    }
}

/// A name as Azure Key Vault takes it: other characters than letters, digits and `-` become `-`, runs of `-` one, the
/// ends are trimmed, and nothing left is `default`.
#[must_use]
pub fn azure_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    match name.trim_matches('-') {
        "" => "default".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests;
