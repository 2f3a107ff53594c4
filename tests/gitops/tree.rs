//! The files of the tree belong together.

use std::collections::BTreeMap;

use e2e::tools::{Tool, path as tool};
use serde_json::Value;

use crate::judge;
use crate::render::{documents, kustomize, path};

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// The one object of this kind and name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> =
        objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// A file that is not listed in the kustomization would never reach the cluster, and its values would be missing.
#[tokio::test]
async fn every_sops_file_of_a_folder_is_in_its_config_map() -> anyhow::Result<()> {
    let folders = [
        ("platform", "platform-sops-files", "atmos-secrets"),
        ("payments/prod", "sops-files", "payments"),
        ("payments/staging", "sops-files", "payments"),
    ];
    for (folder, name, namespace) in folders {
        let objects = kustomize(folder).await?;
        let config_map = find(&objects, "ConfigMap", name);
        assert_eq!(config_map["metadata"]["namespace"], namespace);
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(path(folder).join("secrets"))? {
            let entry = entry?;
            files.insert(entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path())?);
        }
        let data: BTreeMap<String, String> = serde_json::from_value(config_map["data"].clone())?;
        assert!(!files.is_empty());
        assert_eq!(data, files, "{folder}: byte for byte, or the MAC would not match");
    }
    Ok(())
}

/// kustomize puts its `namespace` into every object of a kind that it does not know, and rewrites no name inside one.
#[tokio::test]
async fn names_and_namespaces_are_as_the_operator_reads_them() -> anyhow::Result<()> {
    for object in kustomize("platform").await? {
        let namespaced = object["kind"] == "ConfigMap";
        assert_eq!(object["metadata"]["namespace"].is_string(), namespaced, "{object}");
    }
    let objects = kustomize("payments/prod").await?;
    let store = find(&objects, "Store", "files");
    let source = store["spec"]["sops"]["source"]["configMaps"][0].as_str().unwrap();
    find(&objects, "ConfigMap", source);
    let stack = find(&objects, "Stack", "plat-ue1-prod");
    find(&objects, "Stack", stack["spec"]["imports"][1]["stack"].as_str().unwrap());
    let pod = &find(&objects, "Deployment", "orders-api")["spec"]["template"]["spec"];
    let mounted =
        [&pod["containers"][0]["envFrom"][0]["secretRef"]["name"], &pod["volumes"][0]["secret"]["secretName"]];
    let components = stack["spec"]["components"]["terraform"].as_object().unwrap();
    let targets: Vec<&String> =
        components.values().flat_map(|component| component["targets"].as_object().unwrap().keys()).collect();
    assert_eq!(targets, mounted, "what the Deployment uses is what the Stack writes");
    Ok(())
}

#[test]
fn the_config_map_of_argo_cd_holds_the_script() {
    let config_map = &documents(&read("argocd/argocd-cm.yaml")).unwrap()[0];
    let data: BTreeMap<String, String> = serde_json::from_value(config_map["data"].clone()).unwrap();
    let kinds = ["ClusterStore", "Stack", "Store"];
    let expected = kinds
        .map(|kind| (format!("resource.customizations.health.secrets.atmos.tools_{kind}"), judge::SCRIPT.to_owned()));
    assert_eq!(data, BTreeMap::from(expected));
    // Argo CD does not see a ConfigMap without this label.
    assert_eq!(config_map["metadata"]["labels"]["app.kubernetes.io/part-of"], "argocd");
}

#[tokio::test]
async fn what_argo_cd_and_flux_are_told_is_there() -> anyhow::Result<()> {
    let applications = documents(&read("argocd/applications.yaml"))?;
    let operator = &find(&applications, "Application", "atmos-secrets-operator")["spec"]["sources"];
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(chart.join(operator[0]["path"].as_str().unwrap()).join("Chart.yaml").exists());
    let values_file = operator[0]["helm"]["valueFiles"][0].as_str().unwrap();
    assert!(path(values_file.strip_prefix("$config/").unwrap()).exists() && operator[1]["ref"] == "config");
    for name in ["platform", "payments"] {
        let spec = &find(&applications, "Application", name)["spec"];
        assert!(!kustomize(spec["source"]["path"].as_str().unwrap()).await?.is_empty());
        assert_eq!(spec["syncPolicy"]["syncOptions"][0], "ServerSideApply=true");
    }

    let flux = documents(&read("flux/sync.yaml"))?;
    let release = &find(&flux, "HelmRelease", "atmos-secrets-operator")["spec"];
    assert!(chart.join(release["chart"]["spec"]["chart"].as_str().unwrap()).join("Chart.yaml").exists());
    assert_eq!(release["values"], documents(&read("operator/values.yaml"))?[0]);
    assert_eq!(release["targetNamespace"], "atmos-secrets");
    for name in ["platform", "payments"] {
        let spec = &find(&flux, "Kustomization", name)["spec"];
        find(&flux, "GitRepository", spec["sourceRef"]["name"].as_str().unwrap());
        let objects = kustomize(spec["path"].as_str().unwrap()).await?;
        let checks = spec["healthChecks"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!checks.is_empty() || spec["wait"] == true);
        for check in checks {
            let object = find(&objects, check["kind"].as_str().unwrap(), check["name"].as_str().unwrap());
            assert_eq!(object["apiVersion"], check["apiVersion"]);
            assert_eq!(object["metadata"]["namespace"], check["namespace"]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_grants_what_the_cluster_store_names() -> anyhow::Result<()> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/atmos-secrets-operator");
    let mut helm = tokio::process::Command::new(tool(Tool::Helm).await?);
    let home = tempfile::tempdir()?;
    helm.args(["template", "test", chart, "--namespace=atmos-secrets", "--values"]).arg(path("operator/values.yaml"));
    let output = helm.env("HOME", home.path()).env("KUBECONFIG", "/dev/null").output().await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered: Vec<Value> = documents(&String::from_utf8(output.stdout)?)?;
    let role = find(&rendered, "Role", "atmos-secrets-operator");
    let may_get = |resource: &str, name: &Value| {
        let rules = role["rules"].as_array().unwrap();
        let names = rules.iter().filter(|rule| rule["resources"][0] == resource);
        names.filter_map(|rule| rule["resourceNames"].as_array()).any(|names| names.contains(name))
    };
    let platform = kustomize("platform").await?;
    let sops = &find(&platform, "ClusterStore", "platform")["spec"]["sops"];
    assert!(may_get("configmaps", &sops["source"]["configMaps"][0]));
    assert!(may_get("secrets", &sops["age"]["keys"][0]["secret"]));
    Ok(())
}
