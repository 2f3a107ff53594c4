//! Every manifest under `examples/` is applied to a real API server, which takes it as it stands.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use e2e::ControlPlane;

/// Not manifests: what kustomizations put together, settings of sops, values of the chart.
const INPUTS: [&str; 3] = [".enc.yaml", ".sops.yaml", "examples/gitops/operator/values.yaml"];
/// For tools that are not in this cluster; `tests/gitops/` reads them.
const OTHERS: [&str; 2] = ["examples/gitops/argocd", "examples/gitops/flux"];

fn yaml_files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            found.insert(path);
        }
    }
    found
}

/// The files that the kustomization beside them puts together, from the lines of its list `resources`.
fn resources(kustomization: &Path) -> BTreeSet<PathBuf> {
    let text = std::fs::read_to_string(kustomization).unwrap();
    let list = text.lines().skip_while(|line| *line != "resources:").skip(1);
    let names = list.map_while(|line| line.strip_prefix("- "));
    names.map(|name| kustomization.with_file_name(name)).filter(|resource| !resource.is_dir()).collect()
}

async fn apply(control_plane: &ControlPlane, flag: &str, path: &Path) {
    let arguments = ["apply", "--server-side", "--validate=strict", flag, path.to_str().unwrap()];
    let output = control_plane.kubectl(arguments).await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    // A warning would be the first thing that a reader of the README sees.
    assert!(output.status.success() && words.is_empty(), "kubectl {}: {words}", arguments.join(" "));
}

#[tokio::test]
async fn every_example_is_taken_as_it_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let control_plane = ControlPlane::shared().await.unwrap();
    apply(control_plane, "-f", &root.join("crds")).await;
    let wait = ["wait", "--for=condition=Established", "--timeout=120s", "crd", "--all"];
    assert!(control_plane.kubectl(wait).await.unwrap().status.success());

    let mut files = yaml_files(&root.join("examples"));
    files.retain(|file| !INPUTS.iter().any(|end| file.to_str().unwrap().ends_with(end)));
    for folder in OTHERS.map(|folder| root.join(folder)) {
        let before = files.len();
        files.retain(|file| !file.starts_with(&folder));
        assert!(files.len() < before, "there is nothing in {}", folder.display());
    }
    let (kustomizations, mut plain): (BTreeSet<PathBuf>, BTreeSet<PathBuf>) =
        files.into_iter().partition(|file| file.ends_with("kustomization.yaml"));
    for resource in kustomizations.iter().flat_map(|file| resources(file)) {
        assert!(plain.remove(&resource), "{} is not there", resource.display());
    }
    assert!(plain.len() >= 3 && !kustomizations.is_empty(), "the examples were not found: {plain:?}");
    for file in plain {
        apply(control_plane, "-f", &file).await;
    }
    for file in kustomizations {
        apply(control_plane, "-k", file.parent().unwrap()).await;
    }
}

/// A person who copies an example must not find out later that everybody can open the files.
#[test]
fn the_published_identity_says_so() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = std::fs::read_to_string(examples.join("quickstart/PUBLIC-demo-identity.txt")).unwrap();
    assert!(text.starts_with("# PUBLIC AND WORTHLESS."), "{text}");
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    for folder in ["quickstart", "gitops"] {
        let folder = examples.join(folder);
        assert!(std::fs::read_to_string(folder.join(".sops.yaml")).unwrap().contains(recipient));
        let encrypted = yaml_files(&folder).into_iter().filter(|file| file.to_str().unwrap().ends_with(".enc.yaml"));
        let mut seen = 0;
        for file in encrypted {
            let text = std::fs::read_to_string(&file).unwrap();
            let recipients: Vec<&str> =
                text.lines().filter_map(|line| line.trim().strip_prefix("recipient: ")).collect();
            assert_eq!(recipients, [recipient], "{}", file.display());
            seen += 1;
        }
        assert!(seen >= 2, "no files were found in {}", folder.display());
    }
}
