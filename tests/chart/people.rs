//! What the built-in roles let people do with our kinds once the chart is installed.

use e2e::{ControlPlane, wait_until};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::installation::{LIMIT, shared};

/// What `kubectl auth can-i` asks. The resource is one of ours with or without a subresource, or one of the core.
async fn can(who: &Client, namespace: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let group = if resource == "secrets" { "" } else { "secrets.atmos.tools" };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        namespace: Some(namespace.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(who.clone());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// A person bound to a role: in the namespace, or everywhere if there is none.
async fn bound(plane: &ControlPlane, role: &str, namespace: Option<&str>) -> Client {
    let name = format!("{role}-{}", namespace.unwrap_or("everywhere"));
    let kind = if namespace.is_some() { "rolebinding" } else { "clusterrolebinding" };
    let (role, user) = (format!("--clusterrole={role}"), format!("--user={name}"));
    let mut arguments = vec!["create", kind, &name, &role, &user];
    arguments.extend(namespace.into_iter().flat_map(|namespace| ["--namespace", namespace]));
    let output = plane.kubectl(arguments).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    plane.client_for(&plane.person(&name, None).unwrap()).await.unwrap()
}

#[tokio::test]
async fn built_in_roles_know_stacks_and_stores() {
    let plane = shared().await.unwrap();
    let namespace = plane.namespace("people").await.unwrap();
    let other = plane.namespace("people").await.unwrap();
    let [view, edit, admin] = [
        bound(plane, "view", Some(&namespace)).await,
        bound(plane, "edit", Some(&namespace)).await,
        bound(plane, "admin", Some(&namespace)).await,
    ];
    // kube-controller-manager gathers the roles.
    wait_until("the roles to be gathered", LIMIT, async || {
        for (who, role, verb, resource) in [
            (&view, "view", "get", "stacks"),
            (&edit, "edit", "create", "stacks"),
            (&admin, "admin", "create", "stores"),
        ] {
            if !can(who, &namespace, verb, resource).await {
                return Err(format!("{role} cannot {verb} {resource}"));
            }
        }
        Ok(())
    })
    .await
    .unwrap();

    let read = ["get", "list", "watch"];
    let write = ["create", "update", "patch", "delete", "deletecollection"];
    for (who, role, may_read, may_write) in [
        (&view, "view", &["stacks"][..], &[][..]),
        (&edit, "edit", &["stacks", "stores"], &["stacks"]),
        (&admin, "admin", &["stacks", "stores"], &["stacks", "stores"]),
    ] {
        for resource in ["stacks", "stores", "clusterstores", "catalogs", "stacks/status", "stores/status"] {
            for (verbs, allowed) in [(&read[..], may_read), (&write[..], may_write)] {
                for verb in verbs {
                    let may = can(who, &namespace, verb, resource).await;
                    assert_eq!(may, allowed.contains(&resource), "{role} {verb} {resource}");
                }
            }
            assert!(!can(who, &other, "get", resource).await, "{role} elsewhere: {resource}");
        }
    }
    // Whoever sees names only must not see values.
    assert!(!can(&view, &namespace, "get", "secrets").await);
}

#[tokio::test]
async fn the_shared_reader_reads_what_is_shared_and_nothing_else() {
    let plane = shared().await.unwrap();
    let reader = bound(plane, "atmos-secrets-shared-reader", None).await;
    wait_until("the binding to be known", LIMIT, async || {
        can(&reader, "default", "get", "catalogs").await.then_some(()).ok_or("not yet")
    })
    .await
    .unwrap();
    for (resource, may_read) in [("clusterstores", true), ("catalogs", true), ("stacks", false), ("stores", false)] {
        for verb in ["get", "list", "watch"] {
            assert_eq!(can(&reader, "default", verb, resource).await, may_read, "{verb} {resource}");
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!can(&reader, "default", verb, resource).await, "{verb} {resource}");
        }
    }
    assert!(!can(&reader, "default", "get", "secrets").await);
}
