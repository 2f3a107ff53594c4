//! What others on the machine can learn from the plugin while it runs.

use std::process::Stdio;

use e2e::account::{self, Home};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::fixture::{PLUGIN, search_path};
use crate::store::CANARY;

#[tokio::test]
async fn a_process_of_the_same_user_sees_nothing_of_it() {
    // An API server that never answers keeps the plugin waiting, and proves that it runs.
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", server.local_addr().expect("an address"));
    let home = Home::new().expect("a home");
    let kubeconfig = home.path().join("config");
    let contents = json!({
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
        "users": [{"name": "u", "user": {}}], "current-context": "c",
    });
    std::fs::write(&kubeconfig, contents.to_string()).expect("a kubeconfig");
    let plugin = home.copy(PLUGIN.as_ref()).expect("a copy");

    let words = account::command();
    let (program, more) = words.split_first().expect("a program");
    let mut child = Command::new(program)
        .args(more)
        .arg(plugin)
        .args(["set", "PASSWORD", "--stdin", "--stack", "prod"])
        .env_clear()
        .env("PATH", search_path())
        .env("KUBECONFIG", &kubeconfig)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the plugin starts");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(CANARY.as_bytes()).await.expect("the plugin reads its input");
    drop(stdin);
    let connected = tokio::time::timeout(std::time::Duration::from_secs(120), server.accept()).await;
    let _connection = connected.expect("the plugin asks in time").expect("a connection");

    let process = format!("/proc/{}", child.id().expect("it runs"));
    let limits = std::fs::read_to_string(format!("{process}/limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit of core files");
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..], ["0", "0", "bytes"]);
    let public = std::fs::read(format!("{process}/cmdline")).expect("its words");
    assert!(!String::from_utf8_lossy(&public).contains(CANARY));
    for file in ["environ", "mem", "maps"] {
        let read = account::run(&["sh", "-c", &format!(": < {process}/{file}")]).expect("a shell");
        let words = String::from_utf8_lossy(&read.stderr).to_lowercase();
        assert!(!read.status.success() && words.contains("permission denied"), "{file}: {words:?}");
    }
}
