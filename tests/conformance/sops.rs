//! The `sops` driver on files that the real `sops` made, in objects of a real API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use age::secrecy::ExposeSecret as _;
use async_trait::async_trait;
use atmos_secrets::backend::sops::{ClusterSource, NewFiles, Sops, SourceKind, Writer};
use atmos_secrets::backend::{Backend, DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::cluster::Objects;
use atmos_secrets::sops::{AgeKeys, AgeRecipients, KeySource, MasterKey};
use atmos_secrets::value::SecretValue;
use e2e::tools::{self, Tool};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::kubernetes::{Cluster, base64};
use crate::suite::{self, CANARY, Subject, only};

const FILE: &str = "prod.orders.enc.yaml";
const OBJECT: &str = "files";

/// An identity and its recipient.
pub struct Identity {
    text: String,
    pub recipient: String,
}

impl Identity {
    pub fn generate() -> Self {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        Self { text: identity.to_string().expose_secret().to_owned(), recipient }
    }

    pub fn value(&self) -> SecretValue {
        SecretValue::from(self.text.clone())
    }
}

/// Encrypts as people do.
pub async fn encrypt(file: &str, plain: &Value, recipient: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    // JSON is YAML.
    tokio::fs::write(&path, plain.to_string()).await.unwrap();
    let output = Command::new(tools::path(Tool::Sops).await.expect("sops"))
        .args(["encrypt", "--age", recipient])
        .arg(&path)
        .env("HOME", folder.path())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Counts how often a data key was opened: decryption begins with that.
struct Counting {
    keys: AgeKeys,
    opened: Arc<AtomicUsize>,
}

#[async_trait]
impl KeySource for Counting {
    fn names(&self) -> Vec<String> {
        self.keys.names()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, atmos_secrets::sops::Error> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.keys.open(master_key).await
    }
}

struct Files {
    cluster: Cluster,
    kind: SourceKind,
    identity: Identity,
    plain: Mutex<BTreeMap<String, String>>,
    opened: Arc<AtomicUsize>,
}

impl Files {
    async fn new(kind: SourceKind, prefix: &str) -> Self {
        let files = Self {
            cluster: Cluster::new(prefix).await,
            kind,
            identity: Identity::generate(),
            plain: Mutex::default(),
            opened: Arc::default(),
        };
        files.publish(&BTreeMap::new()).await;
        files
    }

    async fn publish(&self, plain: &BTreeMap<String, String>) {
        // sops refuses an empty document.
        let mut document = json!({"UNUSED": "x"});
        for (name, text) in plain {
            document[name] = json!(text);
        }
        let file = encrypt(FILE, &document, &self.identity.recipient).await;
        self.put(OBJECT, FILE, &file).await;
    }

    async fn put(&self, object: &str, file: &str, bytes: &[u8]) {
        match self.kind {
            SourceKind::Secret => {
                self.cluster.patch_secret(object, &json!({"data": {file: base64(bytes)}})).await;
            }
            SourceKind::ConfigMap => {
                let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
                    Api::namespaced(self.cluster.control_plane.client().await.unwrap(), &self.cluster.namespace);
                let text = std::str::from_utf8(bytes).unwrap();
                let metadata = json!({"name": object});
                let patch =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {file: text}});
                let manager = PatchParams::apply(&format!("test-{file}")).force();
                api.patch(object, &manager, &Patch::Apply(patch)).await.unwrap();
            }
        }
    }

    /// As a person has it at the command line.
    fn with(&self, objects: Objects, names: &[&str], identity: &Identity, allowed: &[&str]) -> Arc<dyn Backend> {
        let new_files = NewFiles::For(vec![identity.recipient.clone()]);
        let writer = Writer { wrapper: Box::new(AgeRecipients), new_files, overwrites_managed: false };
        Arc::new(self.read_only(objects, names, identity, allowed).with_writer(writer))
    }

    /// As the operator has it.
    fn read_only(&self, objects: Objects, names: &[&str], identity: &Identity, allowed: &[&str]) -> Sops {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let source = ClusterSource::new(objects, self.cluster.namespace.clone(), self.kind, names);
        let keys = AgeKeys::parse("test key", &identity.value()).unwrap();
        let keys = Counting { keys, opened: Arc::clone(&self.opened) };
        Sops::new(Box::new(source), Box::new(keys), allowed.iter().map(|name| (*name).to_owned()))
    }

    fn over(&self, names: &[&str]) -> Arc<dyn Backend> {
        self.with(self.cluster.objects.clone(), names, &self.identity, &[])
    }
}

#[async_trait]
impl Subject for Files {
    fn backend(&self) -> Arc<dyn Backend> {
        self.over(&[OBJECT])
    }

    fn key(&self, name: &str) -> Key {
        Key::current(format!("{FILE}#{name}"))
    }

    async fn set(&self, values: &[(&str, &[u8])]) {
        let mut plain = self.plain.lock().await;
        for (name, bytes) in values {
            plain.insert((*name).to_owned(), String::from_utf8(bytes.to_vec()).unwrap());
        }
        self.publish(&plain).await;
    }

    async fn unset(&self, name: &str) {
        let mut plain = self.plain.lock().await;
        plain.remove(name);
        self.publish(&plain).await;
    }

    fn holds_binary(&self) -> bool {
        false
    }

    fn odd_names(&self) -> Vec<&'static str> {
        vec!["a.b", "a b", "a#b", "ä", "{{ x }}", "yes", "- dash", "a:b", "..", "a/b"]
    }

    fn illegal_keys(&self) -> Vec<Key> {
        ["", "#", "file.yaml", "file.yaml#", "#NAME"].map(Key::current).to_vec()
    }

    async fn failing(&self) -> Vec<(&'static str, Arc<dyn Backend>, ErrorKind)> {
        let reached = self.cluster.failing().await.into_iter();
        let mut failing: Vec<_> = reached
            .map(|(how, objects, kind)| (how, self.with(objects, &[OBJECT], &self.identity, &[]), kind))
            .collect();
        let objects = &self.cluster.objects;
        let stranger = Identity::generate();
        failing.push(("another key", self.with(objects.clone(), &[OBJECT], &stranger, &[]), ErrorKind::NoMatchingKey));
        let allowed = self.with(objects.clone(), &[OBJECT], &self.identity, &[&stranger.recipient]);
        failing.push(("another recipient", allowed, ErrorKind::PermissionDenied));
        failing.push(("an absent object", self.over(&["absent"]), ErrorKind::SourceNotFound));

        let good = encrypt(FILE, &json!({"THERE": CANARY, "OTHER": CANARY}), &self.identity.recipient).await;
        let good = String::from_utf8(good).unwrap();
        self.put("double", FILE, good.as_bytes()).await;
        failing.push(("one file in two objects", self.over(&[OBJECT, "double"]), ErrorKind::Ambiguous));
        let swapped = good.replace("THERE:", "SWAP:").replace("OTHER:", "THERE:").replace("SWAP:", "OTHER:");
        self.put("tampered", FILE, swapped.as_bytes()).await;
        failing.push(("a moved value", self.over(&["tampered"]), ErrorKind::Undecodable));
        let without: String =
            good.lines().filter(|line| !line.starts_with("OTHER:")).map(|line| format!("{line}\n")).collect();
        self.put("shortened", FILE, without.as_bytes()).await;
        failing.push(("a value taken out", self.over(&["shortened"]), ErrorKind::MacMismatch));
        self.put("plain", FILE, format!("THERE: {CANARY}\n").as_bytes()).await;
        failing.push(("a plain file", self.over(&["plain"]), ErrorKind::NotEncrypted));
        self.put("broken", FILE, format!("THERE: [{CANARY}\n").as_bytes()).await;
        failing.push(("a broken file", self.over(&["broken"]), ErrorKind::Undecodable));
        failing
    }

    fn value_reads(&self) -> Option<usize> {
        Some(self.opened.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn sops_files_in_a_config_map_keep_the_guarantees() {
    suite::run(&Files::new(SourceKind::ConfigMap, "sops-maps").await).await;
}

#[tokio::test]
async fn sops_files_in_a_secret_keep_the_guarantees() {
    suite::run(&Files::new(SourceKind::Secret, "sops-secrets").await).await;
}

#[tokio::test]
async fn the_operator_writes_no_file() {
    let files = Files::new(SourceKind::ConfigMap, "sops-read").await;
    files.set(&[("KEPT", CANARY.as_bytes())]).await;
    let backend = files.read_only(files.cluster.objects.clone(), &[OBJECT], &files.identity, &[]);
    let capabilities = backend.capabilities();
    assert!(!capabilities.write && !capabilities.delete);
    let key = files.key("KEPT");
    let written = backend.write(&key, &SecretValue::new(b"new".to_vec()), Precondition::None).await;
    assert_eq!(written.unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(backend.delete(&key, DeleteMode::Purge).await.unwrap_err().kind, ErrorKind::Unsupported);
    assert!(only(backend.read(&[key]).await).unwrap().value.equals(CANARY.as_bytes()));
}

#[tokio::test]
async fn several_objects_are_one_union_and_only_what_is_asked_fails() {
    let files = Files::new(SourceKind::ConfigMap, "sops-union").await;
    files.set(&[("A", b"one")]).await;
    let more = encrypt("more.json", &json!({"B": "two", "nested": {"a": 1}}), &files.identity.recipient).await;
    files.put("second", "more.json", &more).await;
    files.put("second", "README.md", b"no secret").await;
    let backend = files.over(&[OBJECT, "second", "absent"]);
    let keys = [
        files.key("A"),
        Key::current("more.json#B"),
        Key::current("more.json#nested"),
        Key::current("none.yaml#A"),
        Key::current("README.md#A"),
    ];
    let opened = files.value_reads();
    let results = backend.read(&keys).await;
    assert_eq!(files.value_reads(), opened.map(|count| count + 2), "each file is opened once");
    for (result, expected) in results.iter().zip([b"one".as_slice(), b"two", br#"{"a":1}"#]) {
        assert!(result.as_ref().is_ok_and(|found| found.value.equals(expected)));
    }
    let kinds: Vec<ErrorKind> = results.into_iter().filter_map(|result| Some(result.err()?.kind)).collect();
    // The file may be in the object that is not there, so it is not missing for certain.
    assert_eq!(kinds, [ErrorKind::SourceNotFound, ErrorKind::Undecodable]);
    assert_eq!(backend.check().await.unwrap_err().kind, ErrorKind::SourceNotFound);

    let whole = files.over(&[OBJECT, "second"]);
    whole.check().await.unwrap();
    assert_eq!(only(whole.read(&[Key::current("none.yaml#A")]).await).err().unwrap().kind, ErrorKind::NotFound);
    assert_eq!(whole.list("more.json#").await.unwrap(), ["more.json#B", "more.json#nested"]);
}

#[tokio::test]
async fn a_missing_key_names_both_sides() {
    let files = Files::new(SourceKind::ConfigMap, "sops-keys").await;
    let stranger = Identity::generate();
    let backend = files.with(files.cluster.objects.clone(), &[OBJECT], &stranger, &[]);
    let error = only(backend.read(&[files.key("UNUSED")]).await).err().unwrap();
    assert!(error.message.contains(&files.identity.recipient), "{}", error.message);
    assert!(error.message.contains(&stranger.recipient), "{}", error.message);
    assert!(error.message.contains("test key"), "{}", error.message);
}

/// A file of sops's that is binary by its name, made and read by the command itself.
async fn sops_on(name: &str, bytes: &[u8], arguments: &[&str], identity: &Identity) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    tokio::fs::write(&path, bytes).await.unwrap();
    let output = Command::new(tools::path(Tool::Sops).await.expect("sops"))
        .args(arguments)
        .arg(&path)
        .env("HOME", folder.path())
        .env("SOPS_AGE_KEY", &identity.text)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "sops: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[tokio::test]
async fn a_file_of_another_name_is_binary_and_has_one_value() {
    crate::log::watch();
    let files = Files::new(SourceKind::ConfigMap, "sops-binary").await;
    let bytes: Vec<u8> = CANARY.bytes().chain(0..=255).collect();
    let file = sops_on("keystore.p12", &bytes, &["encrypt", "--age", &files.identity.recipient], &files.identity).await;
    files.put(OBJECT, "keystore.p12", &file).await;
    let copy = encrypt("more.json", &json!({"B": "two"}), &files.identity.recipient).await;
    files.put(OBJECT, "more.json.orig", &copy).await;
    files.put(OBJECT, "README.md", b"no secret").await;
    let backend = files.over(&[OBJECT]);
    let data = Key::current("keystore.p12#data");
    assert!(only(backend.read(std::slice::from_ref(&data)).await).unwrap().value.equals(&bytes));
    only(backend.probe(std::slice::from_ref(&data)).await).unwrap();
    assert_eq!(backend.list("").await.unwrap(), [data.name.clone(), files.key("UNUSED").name]);

    let refused = async |key: &str| only(backend.read(&[Key::current(key)]).await).err().unwrap();
    let error = refused("keystore.p12#KEYSTORE").await;
    assert!(error.kind == ErrorKind::NotFound && error.message.contains("called data"), "{}", error.message);
    let error = refused("more.json.orig#B").await;
    assert!(error.kind == ErrorKind::Undecodable && error.message.contains("binary"), "{}", error.message);
    let error = refused("README.md#data").await;
    assert!(error.kind == ErrorKind::Undecodable && error.message.contains("binary"), "{}", error.message);

    // Written in place, and anew, and under no other name.
    let new: Vec<u8> = bytes.iter().rev().copied().collect();
    for name in ["keystore.p12", "other.jks"] {
        let key = Key::current(format!("{name}#data"));
        backend.write(&key, &SecretValue::new(new.clone()), Precondition::None).await.unwrap();
        assert!(only(backend.read(std::slice::from_ref(&key)).await).unwrap().value.equals(&new));
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(files.cluster.control_plane.client().await.unwrap(), &files.cluster.namespace);
        let written = api.get(OBJECT).await.unwrap().data.unwrap().remove(name).unwrap();
        assert_eq!(sops_on(name, written.as_bytes(), &["decrypt"], &files.identity).await, new, "{name}");
        let other = Key::current(format!("{name}#B"));
        let error = backend.write(&other, &SecretValue::new(vec![0]), Precondition::None).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidKey);
    }
    crate::log::assert_clean();
}
