//! `Catalog`: declarations that many Stacks import.

// Not expected but allowed, since the compiler takes the expectation of dead code for a use of it.
#![allow(dead_code, reason = "the generator of the schema derives from a copy of the spec, which nothing serializes")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct CatalogSpec {
    /// Other Catalogs, merged in order before what stands here.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<CatalogImport>,
    /// Aliases for ClusterStores, valid for the declarations of this Catalog only.
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = super::rules::aliases_of_stores())]
    #[serde(default, deserialize_with = "super::null::empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<String, ClusterStoreAlias>,
    /// Declarations of the stack level.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub secrets: Option<StackSecrets>,
    /// Bases by component type and name.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = super::rules::types_of_components())]
    #[serde(default, deserialize_with = "super::null::entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, BasesOfType>,
}

// What serde derives is for a spec that is there; an emptied one is null.
impl Serialize for CatalogSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for CatalogSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        struct Written(#[serde(with = "CatalogSpec")] CatalogSpec);
        super::null::empty(deserializer).map(|Written(spec)| spec)
    }
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
#[schemars(extend("maxProperties" = 128, "x-kubernetes-validations" = [super::rules::names_of_components()]))]
pub struct BasesOfType(#[serde(deserialize_with = "super::null::entries")] pub BTreeMap<String, Base>);

/// A base that components inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// Inheritance, as in Atmos.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ComponentMetadata>,
    /// Declarations.
    #[serde(default, deserialize_with = "super::null::present", skip_serializing_if = "Option::is_none")]
    pub secrets: Option<ComponentSecrets>,
}
