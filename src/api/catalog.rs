//! `Catalog`: declarations that many Stacks import.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declaration::{ComponentSecrets, StackSecrets};
use super::stack::ComponentMetadata;

/// Declarations to import: no value, no target. Its components are bases only.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "secrets.atmos.tools",
    version = "v1alpha1",
    kind = "Catalog",
    plural = "catalogs",
    category = "atmos",
    derive = "PartialEq",
    doc = "A Catalog holds declarations that Stacks import: no value, no target. Its components are bases only.",
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The time since its creation"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CatalogSpec {
    /// Other Catalogs, merged in order before what stands here.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<CatalogImport>,
    /// Aliases for ClusterStores, valid for the declarations of this Catalog only.
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = super::rules::aliases_of_stores())]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<String, ClusterStoreAlias>,
    /// Declarations of the stack level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<StackSecrets>,
    /// Bases by component type and name.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = super::rules::types_of_components())]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, BasesOfType>,
}

/// An import of a Catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogImport {
    /// The Catalog's name.
    #[schemars(length(min = 1, max = 253))]
    pub catalog: String,
}

/// What an alias of a Catalog stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStoreAlias {
    /// A ClusterStore whose `allowedNamespaces` admits the importing Stack's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub cluster_store: String,
}

/// The bases of one type by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("maxProperties" = 128, "x-kubernetes-validations" = [super::rules::names_of_components(), super::rules::no_entry_is_null("bases")]), transform = super::schema::let_rules_see_null)]
pub struct BasesOfType(pub BTreeMap<String, Base>);

/// A base that components inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// Inheritance, as in Atmos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ComponentMetadata>,
    /// Declarations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<ComponentSecrets>,
}
