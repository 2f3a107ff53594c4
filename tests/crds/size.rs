//! The largest legal Stack, stored with its status.

use std::collections::BTreeMap;

use atmos_secrets::api::declaration::{ComponentSecrets, StackSecrets, Vars};
use atmos_secrets::api::stack::{ComponentsOfType, Inherit, TargetTemplate, TemplateText};
use atmos_secrets::api::status::{LARGEST_STATUS, READY, SecretState, SecretStatus, Summary, TargetStatus};
use atmos_secrets::api::{Component, Declaration, Reason, Scope, Stack, StackSpec, StackStatus, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// The limits of a Stack: effective declarations and targets.
const DECLARATIONS: usize = 1000;
const TARGETS: usize = 128;

/// The bytes of all templates of a Stack together.
const TEMPLATES: usize = 24 * 1024;

const COMPONENTS: usize = 124;
const PER_COMPONENT: usize = 8;

/// How long the texts are, in characters.
#[derive(Clone, Copy)]
struct Lengths {
    stack: usize,
    component: usize,
    name: usize,
    store: usize,
    description: usize,
    message: usize,
}

/// Longer than people write.
const LONG: Lengths = Lengths { stack: 30, component: 40, name: 40, store: 30, description: 60, message: 0 };

/// As long as names can be.
const LONGEST: Lengths = Lengths { stack: 253, component: 253, name: 253, store: 60, description: 0, message: 1000 };

const MEBIBYTE: usize = 1024 * 1024;

/// A text of exactly `length` characters that ends with a number.
fn text(prefix: &str, number: usize, length: usize) -> String {
    let digits = length.saturating_sub(prefix.len());
    format!("{prefix}{number:0digits$}")
}

fn component_name(lengths: Lengths, number: usize) -> String {
    text("network-", number, lengths.component)
}

fn declarations(lengths: Lengths, first: usize) -> Vars {
    (first..first + PER_COMPONENT)
        .map(|number| {
            let declaration = Declaration {
                description: (lengths.description > 0).then(|| text("what it is for ", number, lengths.description)),
                sops: Some(text("sops-", 1, lengths.store)),
                required: Some(true),
                ..Declaration::default()
            };
            (text("DATABASE_PASSWORD_", number, lengths.name), declaration)
        })
        .collect()
}

fn target(name: String) -> BTreeMap<String, Target> {
    // All of them together have as much text in templates as a Stack may have.
    let text = TemplateText("x".repeat(TEMPLATES / TARGETS));
    let template = TargetTemplate { data: [("DATABASE_URL".to_owned(), text)].into() };
    let target = Target { inherit: Some(Inherit::Own), template: Some(template), ..Target::default() };
    [(name, target)].into()
}

fn largest(lengths: Lengths) -> StackSpec {
    let components = (0..COMPONENTS).map(|number| {
        let component = Component {
            secrets: Some(ComponentSecrets { vars: declarations(lengths, number * PER_COMPONENT) }),
            targets: Some(target(component_name(lengths, number))),
            ..Component::default()
        };
        (component_name(lengths, number), component)
    });
    let components = ComponentsOfType(components.collect());
    StackSpec {
        name: Some(text("plat-ue1-", 1, lengths.stack)),
        secrets: Some(StackSecrets { vars: declarations(lengths, COMPONENTS * PER_COMPONENT) }),
        targets: Some((COMPONENTS..TARGETS).flat_map(|number| target(component_name(lengths, number))).collect()),
        components: [("terraform".to_owned(), components)].into(),
        ..StackSpec::default()
    }
}

/// Nothing has a value: every entry has a reason and a message.
fn worst(lengths: Lengths, spec: &StackSpec) -> StackStatus {
    // Whole seconds: no more are written.
    let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
    let stack = spec.name.clone().unwrap();
    let mut secrets = Vec::new();
    let mut add = |component: &str, vars: &Vars, scope: Scope| {
        for (name, declaration) in vars {
            let part = component.trim_start_matches("terraform/");
            let file = if part.is_empty() { format!("{stack}.enc.yaml") } else { format!("{stack}.{part}.enc.yaml") };
            secrets.push(SecretStatus {
                component: component.to_owned(),
                name: name.clone(),
                state: SecretState::Missing,
                reason: Some(Reason::ValueMissing),
                message: Some(format!("no value at {file} {name}{}", "m".repeat(lengths.message))),
                required: true,
                scope,
                store: format!("Store/{}", declaration.sops.clone().unwrap()),
                backend_key: format!("{file}#{name}"),
                version: String::new(),
                rotation: None,
                origin: format!("inherits/{}", component_name(lengths, 0)),
                last_changed: Some(now.clone()),
            });
        }
    };
    add("", &spec.secrets.as_ref().unwrap().vars, Scope::Stack);
    let mut targets = Vec::new();
    let mut add_targets = |component: &str, names: &BTreeMap<String, Target>| {
        targets.extend(names.keys().map(|name| TargetStatus {
            name: name.clone(),
            component: component.to_owned(),
            ready: false,
            reason: Some(Reason::ValueMissing),
            message: Some("m".repeat(256)),
            resource_version: Some("1234567890".to_owned()),
            last_changed: Some(now.clone()),
        }));
    };
    add_targets("", spec.targets.as_ref().unwrap());
    for (name, component) in &spec.components["terraform"].0 {
        let path = format!("terraform/{name}");
        add(&path, &component.secrets.as_ref().unwrap().vars, Scope::Instance);
        add_targets(&path, component.targets.as_ref().unwrap());
    }
    StackStatus {
        observed_generation: Some(1),
        initialized: Some("0/1000".to_owned()),
        missing: Some(format!("{} {} +999", component_name(lengths, 0), text("DATABASE_PASSWORD_", 0, lengths.name))),
        stores: Some(text("sops-", 1, lengths.store)),
        summary: Some(Summary { missing: 1000, error: 0, unknown: 0 }),
        conditions: vec![Condition {
            type_: READY.to_owned(),
            status: "False".to_owned(),
            reason: Reason::ValueMissing.to_string(),
            message: "m".repeat(1024),
            last_transition_time: now.clone(),
            observed_generation: Some(1),
        }],
        targets,
        secrets,
        ..StackStatus::default()
    }
}

#[tokio::test]
async fn the_largest_stack_with_its_status_stays_under_one_mebibyte() {
    let spec = largest(LONG);
    let status = worst(LONG, &spec);
    assert_eq!(status.clone().bounded(), status, "nothing has to be left out");
    let (with_spec, with_status) = store(spec, status).await;
    assert!(with_status < MEBIBYTE, "{with_spec} bytes of spec and field owners, {with_status} with the status");
}

/// Names of the greatest length make the object larger than a mebibyte, but never too large for etcd.
#[tokio::test]
async fn the_largest_stack_with_the_longest_names_is_stored_with_a_bounded_status() {
    let spec = largest(LONGEST);
    let status = worst(LONGEST, &spec).bounded();
    let size = serde_json::to_vec(&status).unwrap().len();
    assert!(size <= LARGEST_STATUS, "{size} bytes of status");
    store(spec, status).await;
}

/// Stores spec and status and returns the object's size with the spec alone, and with both.
async fn store(spec: StackSpec, status: StackStatus) -> (usize, usize) {
    assert_eq!((status.secrets.len(), status.targets.len()), (DECLARATIONS, TARGETS));
    let cluster = Cluster::new().await.unwrap();
    let stacks: Api<Stack> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    // Applied on the server's side, as GitOps tools do: every field of the spec is named once more in `managedFields`.
    let stack = Stack::new("plat-ue1-prod", spec);
    stacks.patch("plat-ue1-prod", &PatchParams::apply("gitops"), &Patch::Apply(&stack)).await.unwrap();
    let with_spec = stored_bytes(&cluster.client, &cluster.namespace).await;

    let patch = Patch::Merge(json!({"status": status}));
    let patched = stacks.patch_status("plat-ue1-prod", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.status.as_ref(), Some(&status));
    let with_status = stored_bytes(&cluster.client, &cluster.namespace).await;

    // A read returns what was written, and the spec can still be changed.
    let read = stacks.get("plat-ue1-prod").await.unwrap();
    assert_eq!(read.status, Some(status));
    let patch: Patch<Value> = Patch::Merge(json!({"spec": {"suspend": true}}));
    let suspended = stacks.patch("plat-ue1-prod", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(suspended.metadata.generation, Some(2));
    (with_spec, with_status)
}

/// The object as the API server writes it, which is also how a custom resource lies in etcd.
async fn stored_bytes(client: &Client, namespace: &str) -> usize {
    let path = format!("/apis/secrets.atmos.tools/v1alpha1/namespaces/{namespace}/stacks/plat-ue1-prod");
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    client.request_text(request).await.unwrap().len()
}
