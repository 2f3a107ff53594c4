//! Our stand-in and our driver against Microsoft's own Python client: what one writes, the other reads.

use std::process::Stdio;

use atmos_secrets::api::store::Encoding;
use atmos_secrets::backend::{DeleteMode, ErrorKind, Key, Precondition};
use atmos_secrets::value::SecretValue;
use e2e::AzureVault;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{CLIENT, RIGHTS, read, user, vault};

/// The client, waiting for its next step.
struct Official {
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _authority: tempfile::NamedTempFile,
    _process: Child,
}

impl Official {
    async fn start(azure: &AzureVault) -> Self {
        let python = e2e::tools::azure_python().await.expect("Microsoft's client");
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), azure.ca_pem()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/azure/official.py");
        let mut process = Command::new(python)
            .args(["-I", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let answers = BufReader::new(stdout).lines();
        let mut official = Self { stdin, answers, _authority: authority, _process: process };
        let place = json!({"url": azure.url(), "token": azure.token(CLIENT).unwrap(),
            "authority": official._authority.path()});
        official.say(&place).await;
        official
    }

    async fn say(&mut self, line: &Value) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn does(&mut self, step: Value) -> Value {
        self.say(&step).await;
        let answer = self.answers.next_line().await.unwrap().expect("the client ended: its error is above");
        serde_json::from_str(&answer).unwrap()
    }

    /// What came of a step that must succeed.
    async fn must(&mut self, step: Value) -> Value {
        let mut answer = self.does(step).await;
        assert!(answer.get("ok").is_some(), "{answer}");
        answer["ok"].take()
    }
}

#[tokio::test]
async fn microsofts_client_and_our_driver_read_what_the_other_wrote() {
    let azure = vault(&RIGHTS).await;
    azure.set_page(2);
    let backend = user(&azure, Encoding::Raw).await;
    let mut official = Official::start(&azure).await;
    let key = |name: &str| Key::current(name);
    let bytes = |text: &str| SecretValue::from(text.to_owned());

    // The client writes, the driver reads.
    let text = "grüße <&> \"quoted\" \\ \n\u{2028} \u{1f511}";
    let first = official.must(json!({"do": "set", "name": "by-client", "value": "first"})).await;
    let second = official.must(json!({"do": "set", "name": "by-client", "value": text})).await;
    let (first, second) = (first["version"].as_str().unwrap(), second["version"].as_str().unwrap());
    let found = read(&backend, "by-client").await.unwrap();
    assert!(found.value.equals(text.as_bytes()) && found.version == second);
    assert_eq!(backend.versions(&key("by-client")).await.unwrap(), [second, first]);
    let pinned = Key { version: Some(first.to_owned()), ..key("by-client") };
    assert!(backend.read(&[pinned]).await.remove(0).unwrap().value.equals(b"first"));

    // The driver writes, the client reads.
    let old = backend.write(&key("by-driver"), &bytes("old"), Precondition::Absent).await.unwrap();
    let new = backend.write(&key("by-driver"), &bytes(text), Precondition::Version(old.clone())).await.unwrap();
    assert_eq!(official.must(json!({"do": "get", "name": "by-driver"})).await, json!({"value": text}));
    let pinned = json!({"do": "get", "name": "by-driver", "version": old});
    assert_eq!(official.must(pinned).await, json!({"value": "old"}));
    assert_eq!(official.must(json!({"do": "versions", "name": "by-driver"})).await, json!([old, new]));

    // Both see the same names, over more than one page.
    for number in 0..4 {
        backend.write(&key(&format!("k{number}")), &bytes("x"), Precondition::None).await.unwrap();
    }
    let names = json!(["by-client", "by-driver", "k0", "k1", "k2", "k3"]);
    assert_eq!(official.must(json!({"do": "list"})).await, names);
    assert_eq!(json!(backend.list("").await.unwrap()), names);

    // Disabled by one, refused to both.
    let disable = |enabled: bool| json!({"do": "enable", "name": "by-driver", "version": new, "enabled": enabled});
    assert_eq!(official.must(disable(false)).await["enabled"], json!(false));
    let refused = official.does(json!({"do": "get", "name": "by-driver"})).await;
    assert_eq!(refused, json!({"status": 403, "code": "Forbidden"}));
    assert_eq!(read(&backend, "by-driver").await.err().unwrap().kind, ErrorKind::PermissionDenied);
    official.must(disable(true)).await;
    assert!(read(&backend, "by-driver").await.is_ok());

    // Deleted by one, recovered by the other, and both ways round.
    backend.delete(&key("by-client"), DeleteMode::Recoverable).await.unwrap();
    assert_eq!(official.does(json!({"do": "get", "name": "by-client"})).await["code"], json!("SecretNotFound"));
    let refused = official.does(json!({"do": "set", "name": "by-client", "value": "x"})).await;
    assert_eq!(refused, json!({"status": 409, "code": "Conflict"}));
    assert_eq!(official.must(json!({"do": "recover", "name": "by-client"})).await["name"], json!("by-client"));
    assert!(read(&backend, "by-client").await.unwrap().value.equals(text.as_bytes()));
    assert_eq!(official.must(json!({"do": "delete", "name": "by-client"})).await, json!({"recovery": true}));
    assert_eq!(read(&backend, "by-client").await.err().unwrap().kind, ErrorKind::PendingDeletion);
    backend.write(&key("by-client"), &bytes("third"), Precondition::Absent).await.unwrap();
    assert_eq!(official.must(json!({"do": "get", "name": "by-client"})).await, json!({"value": "third"}));

    // Purged by either, gone for both.
    backend.delete(&key("by-client"), DeleteMode::Purge).await.unwrap();
    assert_eq!(official.does(json!({"do": "get", "name": "by-client"})).await["status"], json!(404));
    official.must(json!({"do": "delete", "name": "by-driver"})).await;
    assert_eq!(official.must(json!({"do": "purge", "name": "by-driver"})).await, json!({}));
    assert_eq!(read(&backend, "by-driver").await.err().unwrap().kind, ErrorKind::NotFound);
}
