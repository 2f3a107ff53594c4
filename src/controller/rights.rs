//! Asks the API server what the operator may do, and whether it can know that already.
//!
//! An API server serves before the informers of its authorizer are filled. For some seconds it may know the
//! ClusterRoleBindings and not one RoleBinding: then it refuses what was granted long ago, and says so when it is asked.
//! So before anything is concluded from a missing right, [`is_ready`] asks for `/readyz`. Its check `informer-sync` waits
//! for these informers, too (`NewInformerSyncHealthz` of `k8s.io/apiserver`, `pkg/server/healthz`).

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the operator may do this, as the API server's own authorizer says. `None` if it did not answer.
pub async fn may(client: &Client, namespace: &str, resource: &str, verb: &str) -> Option<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &review)).await;
    match answer {
        Ok(Ok(review)) => review.status.map(|status| status.allowed),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Whether the API server can be believed when it says that a right in `namespace` is missing.
///
/// Every user may ask for `/readyz`, by the ClusterRole `system:public-info-viewer`
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#discovery-roles>). A refusal is either the word of a
/// server that knows no role at all yet, which then refuses questions about rights as well, or of one where that right was
/// taken away. The second one can only be believed.
pub async fn is_ready(client: &Client, namespace: &str) -> bool {
    match readiness(client).await {
        Readiness::Ready => true,
        Readiness::NotReady => false,
        Readiness::MayNotAsk => {
            may(client, namespace, "secrets", "get").await.is_some() && readiness(client).await != Readiness::NotReady
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotReady,
    MayNotAsk,
}

async fn readiness(client: &Client) -> Readiness {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return Readiness::NotReady };
    match tokio::time::timeout(TIMEOUT, client.request_text(request)).await {
        Ok(Ok(_)) => Readiness::Ready,
        // Something before the server may let objects pass and nothing else.
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => Readiness::MayNotAsk,
        Ok(Err(_)) | Err(_) => Readiness::NotReady,
    }
}
