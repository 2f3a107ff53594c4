//! The workflows keep their rules: when they run, what they may do, what they take from others, and in which order they
//! sign and publish. Read from the files, since nothing here can run them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::{parsed, read, root};

const CI: &str = ".github/workflows/ci.yml";
const RELEASE: &str = ".github/workflows/release.yml";

/// The actions that may be used, all of GitHub's own organization, each at the commit of a release.
const ACTIONS: [(&str, &str, &str); 5] = [
    ("actions/checkout", "08c6903cd8c0fde910a37f88322edcfb5dd907a8", "v5.0.0"),
    ("actions/cache", "0057852bfaa89a56745cba8c7296529d2fc39830", "v4.3.0"),
    ("actions/upload-artifact", "ea165f8d65b6e75b540449e92b4886f43607fa02", "v4.6.2"),
    ("actions/download-artifact", "d3f86a106a0bac45b974a628896c90dbdf5c8093", "v4.3.0"),
    ("actions/attest-build-provenance", "977bb373ede98d70efdf65b84cb5f73e068dcc2a", "v3.0.0"),
];

fn jobs(workflow: &Value) -> BTreeMap<&str, &Value> {
    workflow["jobs"].as_object().unwrap().iter().map(|(name, job)| (name.as_str(), job)).collect()
}

fn steps(job: &Value) -> Vec<&Value> {
    job["steps"].as_array().unwrap().iter().collect()
}

/// What a step runs, or the action that it uses.
fn action(step: &Value) -> &str {
    step["run"].as_str().or(step["uses"].as_str()).unwrap()
}

/// The names of the jobs that must be done before.
fn needs(job: &Value) -> BTreeSet<&str> {
    match &job["needs"] {
        Value::String(name) => [name.as_str()].into(),
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn they_run_when_they_should_and_never_else() {
    let folder = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let files: BTreeSet<String> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, ["ci.yml", "release.yml"].map(str::to_owned).into(), "each workflow needs its rules here");
    // Nothing with the rights of the repository runs code of a pull request: that would be `pull_request_target`.
    assert_eq!(parsed(&read(CI))["on"], json!({"push": {"branches": ["main"]}, "pull_request": null}));
    assert_eq!(parsed(&read(RELEASE))["on"], json!({"push": {"tags": ["v*"]}}));
}

#[test]
fn a_copy_of_the_repository_releases_nothing() {
    let workflow = parsed(&read(RELEASE));
    let jobs = jobs(&workflow);
    for (name, job) in &jobs {
        let is_home = |job: &Value| job["if"] == "github.repository == 'atmos-secrets/atmos-secrets-operator'";
        // A job whose predecessor is skipped is skipped too, unless its own `if` says otherwise.
        let kept = job["if"].is_null() && needs(job).iter().any(|name| is_home(jobs[name]));
        assert!(is_home(job) || kept, "{name}");
    }
}

#[test]
fn every_job_has_the_least_rights() {
    let rights = |file: &str| -> BTreeMap<String, Value> {
        let workflow = parsed(&read(file));
        assert_eq!(workflow["permissions"], json!({}), "{file} gives rights to all jobs");
        jobs(&workflow).into_iter().map(|(name, job)| (name.to_owned(), job["permissions"].clone())).collect()
    };
    let read_only = json!({"contents": "read"});
    assert_eq!(rights(CI), [("check".to_owned(), read_only.clone())].into());
    let expected = [
        ("check", read_only.clone()),
        ("reproducible", read_only.clone()),
        // To push the image by digest.
        ("image", json!({"contents": "read", "packages": "write"})),
        ("plugin", read_only),
        // To make the release, to name the image and push the chart, to sign as this workflow, to attest where it came from.
        ("publish", json!({"contents": "write", "packages": "write", "id-token": "write", "attestations": "write"})),
    ];
    assert_eq!(rights(RELEASE), expected.map(|(name, rights)| (name.to_owned(), rights)).into());
}

#[test]
fn what_comes_from_others_is_pinned() {
    for file in [CI, RELEASE] {
        let text = read(file);
        for line in text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: ")) {
            let known = ACTIONS.iter().any(|(name, commit, version)| line == format!("{name}@{commit} # {version}"));
            assert!(known, "{file}: {line} is not one of the pinned actions");
        }
        let workflow = parsed(&text);
        for (name, job) in jobs(&workflow) {
            assert!(job["container"].is_null() && job["services"].is_null(), "{file}: {name} runs in a foreign image");
            for step in steps(job) {
                let run = action(step);
                for tool in ["curl", "wget", "cargo install", "pip install", "npm ", "npx "] {
                    assert!(!run.contains(tool), "{file}: {name} fetches by {tool}: {run}");
                }
                // A Go module of a version is checked against the public log of checksums.
                assert!(!run.contains("go install") || run.contains("cmd/cosign@$COSIGN_VERSION"), "{run}");
            }
        }
    }
    let workflow = parsed(&read(RELEASE));
    let version = workflow["jobs"]["publish"]["env"]["COSIGN_VERSION"].as_str().unwrap();
    assert!(version.starts_with('v') && version.split('.').count() == 3, "{version}");
    for (_, job) in jobs(&workflow) {
        assert!(steps(job).iter().all(|step| !action(step).starts_with("actions/cache")), "a cache can be poisoned");
    }
}

#[test]
fn nothing_is_handed_to_code_that_should_not_have_it() {
    for file in [CI, RELEASE] {
        let text = read(file);
        assert!(!text.contains("secrets."), "{file}: the job's own token is enough");
        let workflow = parsed(&text);
        assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{file}: with it, a failure in a pipe is one");
        for (name, job) in jobs(&workflow) {
            assert!(job["timeout-minutes"].as_u64().is_some_and(|minutes| minutes <= 120), "{file}: {name}");
            assert!(job["env"].as_object().is_none_or(|variables| {
                variables.values().all(|value| !value.as_str().unwrap().contains("token }"))
            }));
            for step in steps(job) {
                // Text of others, such as the name of a tag, comes as a variable, never as a part of the script.
                assert!(!step["run"].as_str().unwrap_or_default().contains("${{"), "{file}: {name}: {step}");
                if action(step).starts_with("actions/checkout@") {
                    assert_eq!(step["with"]["persist-credentials"], false, "{file}: {name} leaves its token in .git");
                }
            }
        }
    }
}

/// Scripts are at least scripts, and what they call is there.
#[test]
fn what_they_run_can_be_read_by_bash_and_is_there() {
    let mut scripts = 0;
    for file in [CI, RELEASE] {
        let workflow = parsed(&read(file));
        for (name, job) in jobs(&workflow) {
            for run in steps(job).into_iter().filter_map(|step| step["run"].as_str()) {
                let output = Command::new("bash").args(["-n", "-c", run]).output().unwrap();
                assert!(output.status.success(), "{file}: {name}: {}\n{run}", String::from_utf8_lossy(&output.stderr));
                scripts += 1;
                for word in run.split_whitespace().filter(|word| word.starts_with(".ci/")) {
                    assert!(root().join(word).is_file(), "{file}: {name}: {word}");
                }
                for (_, rest) in run.match_indices("make ").map(|(at, word)| (at, &run[at + word.len()..])) {
                    let target = rest.split_whitespace().find(|word| !word.starts_with("--")).unwrap();
                    assert!(read("Makefile").contains(&format!("\n{target}:")), "{file}: {name}: make {target}");
                }
            }
        }
    }
    assert!(scripts > 10, "{scripts} scripts");
}

#[test]
fn both_programs_and_the_image_are_built_for_both_processors() {
    let workflow = parsed(&read(RELEASE));
    let image = &workflow["jobs"]["image"];
    let matrix = json!([
        {"processor": "amd64", "runner": "ubuntu-24.04"},
        {"processor": "arm64", "runner": "ubuntu-24.04-arm"},
    ]);
    assert_eq!(image["strategy"]["matrix"]["include"], matrix);
    let script: String = steps(image).into_iter().map(action).collect::<Vec<_>>().join("\n");
    // From one Dockerfile, and by way of `.ci/build-release`, which tests/chart/dockerfile.rs checks.
    assert_eq!(script.matches("docker buildx build ").count(), 2);
    assert!(script.contains("--target programs --output programs"));
    for program in ["atmos-secrets-operator", "kubectl-atmos_secret"] {
        assert!(script.split_whitespace().any(|word| word == program), "{program} is not handed out");
    }
    // The base by digest, as the Dockerfile names it.
    let base = workflow["env"]["BASE"].as_str().unwrap();
    assert!(read("Dockerfile").contains(&format!("\nFROM {base}\n")), "{base}");
    assert!(script.contains("--build-context \"$BASE=docker-image://$BASE@$BASE_DIGEST\""));
    let plugin: String = steps(&workflow["jobs"]["plugin"]).into_iter().map(action).collect();
    assert!(plugin.contains(".ci/build-release --bin kubectl-atmos_secret --target"));
}

/// Where a text stands in another; it must be there once.
fn place(script: &str, text: &str) -> usize {
    assert_eq!(script.matches(text).count(), 1, "{text}");
    script.find(text).unwrap()
}

#[test]
fn nothing_is_published_before_it_is_tested_signed_and_verified() {
    let workflow = parsed(&read(RELEASE));
    let jobs = jobs(&workflow);
    // Whatever may write waits for the tests; the last job waits for all.
    for (name, job) in &jobs {
        let writes = job["permissions"].as_object().unwrap().values().any(|right| right == "write");
        assert!(!writes || needs(job).contains("check"), "{name}");
    }
    let others: BTreeSet<&str> = jobs.keys().copied().filter(|name| *name != "publish").collect();
    assert_eq!(needs(jobs["publish"]), others);
    let checks: String = steps(jobs["check"]).into_iter().map(action).collect::<Vec<_>>().join("\n");
    for check in
        ["git merge-base --is-ancestor \"$GITHUB_SHA\" origin/main", "\n.ci/run\n", "release-notes", "Cargo.toml"]
    {
        assert!(checks.contains(check), "{check}");
    }

    // A name is given in the last job alone; before, an image has nothing but its digest.
    for name in &others {
        for run in steps(jobs[name]).into_iter().map(action) {
            for word in ["--tag", "--push", "docker push", "helm push", "gh release", "cosign"] {
                assert!(!run.contains(word), "{name}: {word}");
            }
            assert!(!run.contains("push=true") || run.contains("push-by-digest=true"), "{name}: {run}");
        }
    }

    let publish: String = steps(jobs["publish"]).into_iter().map(action).collect::<Vec<_>>().join("\n");
    let order = [
        // The files.
        "sha256sum -- *",
        "cosign sign-blob --yes",
        "cosign verify-blob",
        // The image, under a name for this run alone until it is signed.
        "create --tag \"$candidate\"",
        "cosign sign --yes --recursive \"$IMAGE@$digest\"",
        "cosign attest --yes --type spdxjson",
        "cosign verify \"${identity[@]}\" \"$IMAGE@$DIGEST\"",
        "cosign verify-attestation --type spdxjson",
        "create --tag \"$IMAGE:${TAG#v}\" \"$IMAGE@$DIGEST\"",
        // The chart, with that image in it.
        "sed --in-place",
        "helm push",
        "cosign sign --yes \"$chart\"",
        "cosign verify --certificate-identity",
        "gh release create \"$TAG\"",
    ];
    let places = order.map(|text| place(&publish, text));
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(publish.matches("actions/attest-build-provenance@").count(), 2, "of the files and of the image");
    // The chart is never pushed in a step that does not sign it.
    let steps = steps(jobs["publish"]);
    let pushes = steps.iter().map(|step| action(step)).filter(|run| run.contains("helm push"));
    assert!(pushes.into_iter().all(|run| run.contains("cosign sign --yes")));
    let last = steps.last().unwrap();
    assert!(action(last).contains("gh release create"));
}

/// What the last job edits in the chart is there, once.
#[test]
fn the_chart_has_a_place_for_the_digest() {
    let values = read("charts/atmos-secrets-operator/values.yaml");
    assert_eq!(values.lines().filter(|line| *line == "  digest: \"\"").count(), 1);
    assert_eq!(parsed(&values)["image"]["digest"], "");
    let workflow = parsed(&read(RELEASE));
    assert_eq!(parsed(&values)["image"]["repository"], workflow["env"]["IMAGE"]);
}
