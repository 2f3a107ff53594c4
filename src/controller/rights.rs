//! Asks the API server what the operator may do.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

/// How long one rights question may take.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

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
    let answer = tokio::time::timeout(REVIEW_TIMEOUT, api.create(&PostParams::default(), &review)).await;
    match answer {
        Ok(Ok(review)) => review.status.map(|status| status.allowed),
        Ok(Err(_)) | Err(_) => None,
    }
}
