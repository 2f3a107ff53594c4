//! Stores in Azure Key Vault, with the person's own login: an application of the environment, or the Azure CLI.

use std::os::unix::fs::PermissionsExt as _;

use e2e::{AzureApplication, AzureVault};
use serde_json::{Value, json};

use crate::fixture::{Fixture, search_path};
use crate::store::{CANARY, put};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const SECRET: &str = "secret-of-the-person-0123456789abcdef";

/// A Store in a vault and a Stack with two secrets there, one of which has a value; the Secret that the Store names for
/// the operator is not there.
async fn prepare() -> (Fixture, AzureVault) {
    let (fixture, azure) = (Fixture::new("azure").await, AzureVault::start().await.expect("a vault"));
    azure.register(AzureApplication {
        tenant: TENANT.into(),
        client: CLIENT.into(),
        secret: Some(SECRET.into()),
        rights: vec!["get", "list", "set"],
        ..AzureApplication::default()
    });
    azure.set("prod-db-PASSWORD", &json!(CANARY).to_string(), Value::Null).expect("a value");
    let secret = json!({"secret": "of-the-operator", "key": "secret"});
    let auth = json!({"clientSecret": {"tenantId": TENANT, "clientId": "of-the-operator", "clientSecret": secret}});
    fixture
        .apply(json!({
            "apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "azure"},
            "spec": {"azureKeyVault": {"vaultUrl": azure.url(), "auth": auth}},
        }))
        .await;
    let vars = json!({"PASSWORD": {}, "LATER": {}});
    let spec = json!({"defaultStore": "azure", "components": {"terraform": {"db": {"secrets": {"vars": vars}}}}});
    fixture.stack("prod", spec).await;
    // The system's certificate authorities are those of this file.
    let authority = fixture.home().join("ca.pem");
    std::fs::write(&authority, azure.ca_pem()).expect("a file");
    let url = azure.url();
    (fixture.with_variable("SSL_CERT_FILE", authority).with_variable("AZURE_AUTHORITY_HOST", url), azure)
}

const READ: &[&str] = &["get", "PASSWORD", "--mask=false", "-r", "--allow-loopback-endpoints"];

#[tokio::test]
async fn an_application_of_the_environment_reads_and_writes() {
    let (fixture, azure) = prepare().await;
    let fixture = fixture.with_variable("AZURE_TENANT_ID", TENANT).with_variable("AZURE_CLIENT_ID", CLIENT);
    let fixture = fixture.with_variable("AZURE_CLIENT_SECRET", SECRET);
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
    let set = ["set", "LATER", "--stdin", "--allow-loopback-endpoints"];
    let written = fixture.run_with_input(&set, b"new").await;
    assert_eq!(written.code, 0, "{written:?}");
    assert_eq!(azure.stored("prod-db-LATER").as_deref(), Some("\"new\""));

    let fixture = fixture.with_variable("AZURE_CLIENT_SECRET", "wrong-0123456789abcdef");
    let refused = fixture.run(READ).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("the client secret is wrong"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("0123456789abcdef"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_azure_cli_is_asked_for_a_token() {
    let (fixture, azure) = prepare().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (token, told) = (azure.token(CLIENT).expect("a token"), folder.path().join("told"));
    let tool = |body: &str| {
        let program = folder.path().join("az");
        std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" > {}\n{body}\n", told.display())).expect("a file");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    };
    let others = std::env::split_paths(&search_path()).collect::<Vec<_>>();
    let path = std::env::join_paths(std::iter::once(folder.path().to_owned()).chain(others)).expect("a PATH");

    // Nobody has logged in there; what the tool says may quote anything.
    tool(&format!("echo 'ERROR: {CANARY}' >&2; exit 1"));
    let fixture = fixture.with_variable("PATH", path);
    let refused = fixture.run(READ).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.contains("run `az login`") && !refused.stderr.contains(CANARY), "{}", refused.stderr);

    let printed = json!({"accessToken": token, "expiresOn": "2030-01-01 00:00:00.000000", "expires_on": 1_893_456_000,
        "tenant": TENANT, "tokenType": "Bearer"});
    tool(&format!("echo '{printed}'"));
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
    let asked = std::fs::read_to_string(&told).expect("what it was told");
    let expected =
        format!("account get-access-token --output json --resource https://vault.azure.net --tenant {TENANT}");
    assert_eq!(asked.trim(), expected);
    // Neither login was the person's, nor the operator's.
    assert!(azure.requests().iter().all(|request| !request.path.contains("oauth2")));
}

#[tokio::test]
async fn where_azure_logs_in_concerns_azure_alone() {
    let (fixture, azure) = prepare().await;
    let fixture = fixture.with_variable("AZURE_TENANT_ID", TENANT).with_variable("AZURE_CLIENT_ID", CLIENT);
    let fixture = fixture.with_variable("AZURE_CLIENT_SECRET", SECRET);
    // Azure's own tools take a host without its scheme, too.
    let host = azure.url().trim_start_matches("https://").trim_end_matches('/').to_owned();
    let fixture = fixture.with_variable("AZURE_AUTHORITY_HOST", host);
    let read = fixture.run(READ).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);

    let fixture = fixture.with_variable("AZURE_AUTHORITY_HOST", "no address");
    let refused = fixture.run(READ).await;
    assert_eq!((refused.code, refused.text()), (3, ""), "{refused:?}");
    assert!(refused.stderr.starts_with("error: AuthFailed: AZURE_AUTHORITY_HOST is no address"), "{refused:?}");
    let store = json!({"apiVersion": "secrets.atmos.tools/v1alpha1", "kind": "Store", "metadata": {"name": "app"},
        "spec": {"kubernetes": {}}});
    fixture.apply(store).await;
    fixture.change("prod", json!({"defaultStore": "app"})).await;
    put(&fixture, "atmos.prod.db", &[("PASSWORD", CANARY.as_bytes())]).await;
    let read = fixture.run(&["get", "PASSWORD", "--mask=false", "-r"]).await;
    assert_eq!((read.code, read.text()), (0, CANARY), "{}", read.stderr);
}
