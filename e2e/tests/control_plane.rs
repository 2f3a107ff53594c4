//! The control plane itself, against the real servers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::control_plane::Stage;
use e2e::{ControlPlane, Options, wait_until};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, from_value, json};

const LIMIT: Duration = Duration::from_secs(60);

fn config_map(name: &str) -> ConfigMap {
    from_value(json!({"metadata": {"name": name}, "data": {"key": "value"}})).unwrap()
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic_with(other),
    }
}

#[expect(clippy::panic, reason = "tests fail by panicking")]
fn panic_with(error: &kube::Error) -> ! {
    panic!("expected an answer of the API server, got {error}")
}

#[tokio::test]
async fn namespaces_are_unique_and_usable() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let first = control_plane.namespace("same").await.unwrap();
    let second = control_plane.namespace("same").await.unwrap();
    assert_ne!(first, second);
    let maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &first);
    maps.create(&PostParams::default(), &config_map("settings")).await.unwrap();
    assert_eq!(maps.get("settings").await.unwrap().data.unwrap().get("key").map(String::as_str), Some("value"));
}

#[tokio::test]
async fn kubectl_applies_several_documents_and_says_what_is_wrong() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("apply").await.unwrap();
    let one = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{a: b}}\n")
    };
    control_plane.apply_yaml(&format!("{}---\n{}", one("first"), one("second"))).await.unwrap();
    let second = control_plane.get_json(["configmap", "second", "--namespace", &namespace]).await.unwrap();
    assert_eq!(second.pointer("/data/a"), Some(&Value::from("b")));

    let refused = control_plane.apply_yaml(&one("Not_A_Name")).await.unwrap_err().to_string();
    assert!(refused.contains("Not_A_Name"), "{refused}");
    let version = control_plane.kubectl(["version", "--output=json"]).await.unwrap();
    let version: Value = serde_json::from_slice(&version.stdout).unwrap();
    assert_eq!(version.pointer("/clientVersion/gitVersion"), version.pointer("/serverVersion/gitVersion"));
}

#[tokio::test]
async fn a_service_account_has_only_the_rights_given_to_it() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("account").await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig(&namespace, "reader").await.unwrap();
    assert_eq!(kubeconfig.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let client = control_plane.client_for(&kubeconfig).await.unwrap();
    assert_eq!(client.default_namespace(), namespace);
    let secrets: Api<Secret> = Api::default_namespaced(client);
    assert_eq!(code(&secrets.list(&ListParams::default()).await.unwrap_err()), 403);

    let subject = format!("{{kind: ServiceAccount, name: reader, namespace: {namespace}}}");
    control_plane.apply_yaml(&grant(&namespace, &subject)).await.unwrap();
    wait_until("the grant to work", LIMIT, async || secrets.list(&ListParams::default()).await).await.unwrap();
}

#[tokio::test]
async fn a_person_is_known_by_name_and_by_group() {
    let control_plane = ControlPlane::shared().await.unwrap();
    for (person, group, subject) in [
        ("alice", None, "{kind: User, name: alice, apiGroup: rbac.authorization.k8s.io}"),
        ("bob", Some("payments"), "{kind: Group, name: payments, apiGroup: rbac.authorization.k8s.io}"),
    ] {
        let namespace = control_plane.namespace("person").await.unwrap();
        let kubeconfig = control_plane.person(person, group).unwrap();
        let secrets: Api<Secret> = Api::namespaced(control_plane.client_for(&kubeconfig).await.unwrap(), &namespace);
        assert_eq!(code(&secrets.list(&ListParams::default()).await.unwrap_err()), 403, "{person}");
        control_plane.apply_yaml(&grant(&namespace, subject)).await.unwrap();
        wait_until("the grant to work", LIMIT, async || secrets.list(&ListParams::default()).await).await.unwrap();
        let asked = control_plane.audit_events().unwrap();
        assert!(asked.iter().any(|event| event.user == person && event.namespace == namespace && event.code == 200));
    }
}

fn grant(namespace: &str, subject: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {namespace}}}
rules: [{{apiGroups: [''], resources: [secrets], verbs: [get, list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{subject}]
"
    )
}

#[tokio::test]
async fn the_audit_log_counts_exactly_the_requests_made() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("audit").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    let mark = control_plane.audit_mark().unwrap();
    for name in ["one", "two", "three"] {
        maps.create(&PostParams::default(), &config_map(name)).await.unwrap();
    }
    assert_eq!(code(&maps.create(&PostParams::default(), &config_map("one")).await.unwrap_err()), 409);
    assert_eq!(code(&maps.get("four").await.unwrap_err()), 404);
    let seen: Vec<_> = control_plane
        .audit_events_since(mark)
        .unwrap()
        .into_iter()
        .filter(|event| event.namespace == namespace && event.resource == "configmaps")
        .inspect(|event| assert_eq!((event.user.as_str(), event.stage), ("admin", Stage::ResponseComplete)))
        .map(|event| (event.verb, event.name, event.code))
        .collect();
    let expected = [
        ("create", "one", 201),
        ("create", "two", 201),
        ("create", "three", 201),
        ("create", "one", 409),
        ("get", "four", 404),
    ];
    assert_eq!(seen, expected.map(|(verb, name, code)| (verb.to_owned(), name.to_owned(), code)));
}

#[tokio::test]
async fn anonymous_requests_are_refused() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let mut config = kube::Config::new(control_plane.url().parse().unwrap());
    let client = control_plane.client().await.unwrap();
    config.accept_invalid_certs = true;
    let anonymous: Api<Namespace> = Api::all(kube::Client::try_from(config).unwrap());
    assert_eq!(code(&anonymous.get("default").await.unwrap_err()), 401);
    Api::<Namespace>::all(client).get("default").await.unwrap();
}

#[tokio::test]
async fn controllers_delete_namespaces_collect_garbage_and_count_quotas() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let client = control_plane.client().await.unwrap();
    let namespace = control_plane.namespace("controllers").await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    wait_until("the default service account", LIMIT, async || accounts.get("default").await).await.unwrap();

    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let mut owned = config_map("owned");
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid().unwrap()});
    owned.metadata.owner_references = Some(vec![from_value(reference).unwrap()]);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &DeleteParams::default()).await.unwrap();
    wait_until("the owned object to go", LIMIT * 3, async || gone(maps.get_opt("owned").await)).await.unwrap();

    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), &namespace);
    let none = json!({"metadata": {"name": "none"}, "spec": {"hard": {"secrets": "0"}}});
    quotas.create(&PostParams::default(), &from_value(none).unwrap()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let mut attempt = 0;
    let refused = wait_until("the quota to hold", LIMIT, async || {
        attempt += 1;
        let secret = json!({"metadata": {"name": format!("secret-{attempt}")}});
        match secrets.create(&PostParams::default(), &from_value(secret).unwrap()).await {
            Ok(_) => Err("created"),
            Err(error) => Ok(error),
        }
    })
    .await
    .unwrap();
    assert_eq!(code(&refused), 403);
    assert!(refused.to_string().contains("exceeded quota"), "{refused}");

    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    wait_until("the namespace to go", LIMIT * 3, async || gone(namespaces.get_opt(&namespace).await)).await.unwrap();
}

fn gone<K>(found: kube::Result<Option<K>>) -> Result<(), String> {
    match found {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("still there".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn the_api_server_comes_back_with_its_data_at_the_same_address() {
    let options = Options { controller_manager: false, ..Options::default() };
    let control_plane = ControlPlane::start(options).await.unwrap();
    let client = control_plane.client().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();

    control_plane.stop_api_server();
    assert!(!matches!(maps.get("kept").await.unwrap_err(), kube::Error::Api(_)));
    control_plane.start_api_server().await.unwrap();
    // The same client as before: address, certificate and token still hold.
    maps.get("kept").await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_come_up_says_why() {
    let options = Options { api_server_flags: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = ControlPlane::start(options).await.err().expect("it must not start");
    let text = format!("{error:#}");
    assert!(text.contains("kube-apiserver") && text.contains("unknown flag: --no-such-flag"), "{text}");
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let folder = control_plane.folder().to_owned();
    assert_eq!(processes_in(&folder), 3);
    drop(control_plane);
    assert!(!folder.exists());
    wait_until("the processes to end", LIMIT, async || none_in(&folder)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_when_the_owner_is_killed() {
    // Built before, so that the program below is not killed while it builds.
    ControlPlane::shared().await.unwrap();
    let mut owner = Command::new(env!("CARGO_BIN_EXE_e2e")).arg("up").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = line.trim_end().strip_prefix("export KUBECONFIG=").expect("the line to use it").to_owned();
    let folder = Path::new(&kubeconfig).parent().unwrap().to_owned();
    assert_eq!(processes_in(&folder), 3);

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the processes to end", LIMIT, async || none_in(&folder)).await.unwrap();
    wait_until("the folder to go", LIMIT, async || if folder.exists() { Err("still there") } else { Ok(()) })
        .await
        .unwrap();
}

/// The servers work in the data folder of their control plane, and nothing else does.
fn processes_in(folder: &Path) -> usize {
    let watchdogs_left_out = |process: &std::fs::DirEntry| {
        std::fs::read(process.path().join("cmdline"))
            .is_ok_and(|arguments| !arguments.starts_with(b"sh\0") && !arguments.starts_with(b"cat"))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)))
        .filter(watchdogs_left_out)
        .count()
}

fn none_in(folder: &Path) -> Result<(), String> {
    match processes_in(folder) {
        0 => Ok(()),
        left => Err(format!("{left} processes")),
    }
}
