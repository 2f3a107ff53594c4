//! Who else keeps an object of the cluster as it is: what we write into it would be undone.

use super::object::Metadata;

impl Metadata {
    /// The tool that manages an object, as messages name it; `None` if nobody does, as far as the object says.
    ///
    /// Sources: Argo CD's resource tracking (<https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/>), the
    /// ownership labels of Flux's controllers (<https://fluxcd.io/flux/components/kustomize/kustomizations/>,
    /// <https://fluxcd.io/flux/components/helm/helmreleases/>), and what Helm puts on all that it installs
    /// (<https://helm.sh/docs/chart_best_practices/labels/>). `app.kubernetes.io/instance` is what Argo CD 2 tracks by, and
    /// others use it too: such an object may be managed.
    #[must_use]
    pub fn managed_by(&self) -> Option<&'static str> {
        let has_annotation = |key: &str| self.annotations.get(key).is_some();
        let has_label = |key: &str| self.labels.contains_key(key);
        let wrote = |name: &str| self.field_managers.contains(name);
        let is_of_helm = self.labels.get("app.kubernetes.io/managed-by").is_some_and(|tool| tool == "Helm");
        if has_annotation("argocd.argoproj.io/tracking-id")
            || has_label("argocd.argoproj.io/instance")
            || wrote("argocd-controller")
            || wrote("argocd-application-controller")
        {
            return Some("Argo CD");
        }
        if has_label("kustomize.toolkit.fluxcd.io/name")
            || has_label("helm.toolkit.fluxcd.io/name")
            || wrote("kustomize-controller")
            || wrote("helm-controller")
        {
            return Some("Flux");
        }
        if is_of_helm || has_annotation("meta.helm.sh/release-name") || wrote("helm") {
            return Some("Helm");
        }
        has_label("app.kubernetes.io/instance").then_some("a GitOps tool (label app.kubernetes.io/instance)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(labels: &[(&str, &str)], annotations: &[&str], managers: &[&str]) -> Metadata {
        let mut metadata = Metadata::default();
        metadata.labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        for key in annotations {
            metadata.annotations.insert(*key, "x");
        }
        metadata.field_managers.extend(managers.iter().map(|name| (*name).to_owned()));
        metadata
    }

    #[test]
    fn every_tool_is_known_by_its_marks() {
        for (metadata, expected) in [
            (object(&[], &["argocd.argoproj.io/tracking-id"], &[]), Some("Argo CD")),
            (object(&[("argocd.argoproj.io/instance", "app")], &[], &[]), Some("Argo CD")),
            (object(&[], &[], &["argocd-controller", "kubectl"]), Some("Argo CD")),
            (object(&[("kustomize.toolkit.fluxcd.io/name", "apps")], &[], &[]), Some("Flux")),
            (
                object(&[("helm.toolkit.fluxcd.io/name", "r"), ("app.kubernetes.io/managed-by", "Helm")], &[], &[]),
                Some("Flux"),
            ),
            (object(&[], &[], &["kustomize-controller"]), Some("Flux")),
            (object(&[("app.kubernetes.io/managed-by", "Helm")], &[], &[]), Some("Helm")),
            (object(&[], &["meta.helm.sh/release-name"], &[]), Some("Helm")),
            (
                object(
                    &[("app.kubernetes.io/managed-by", "a person")],
                    &["kubectl.kubernetes.io/last-applied-configuration"],
                    &["kubectl-client-side-apply"],
                ),
                None,
            ),
            (object(&[], &[], &[]), None),
        ] {
            assert_eq!(metadata.managed_by(), expected, "{:?}", metadata.labels);
        }
        let perhaps = object(&[("app.kubernetes.io/instance", "app")], &[], &[]).managed_by();
        assert!(perhaps.is_some_and(|tool| tool.contains("app.kubernetes.io/instance")));
    }
}
