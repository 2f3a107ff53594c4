//! `rekey` of a folder without a Store and without a cluster: keys of every service with the person's own credentials, the
//! recipients of `.sops.yaml`, and key groups; judged by the real `sops`.

use std::fs;
use std::path::PathBuf;

use e2e::{AzureApplication, AzureVault, Gcp, Moto, Vault};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Outcome, PLUGIN, run};
use crate::sops::{encrypt, identity};
use crate::store::CANARY;

const FILE: &str = "prod.enc.yaml";

/// A folder with one file for one age identity.
struct Folder {
    fixture: Fixture,
    path: PathBuf,
    recipient: String,
    secret: String,
}

impl Folder {
    async fn new() -> Self {
        let fixture = Fixture::new("rekey-folder").await;
        let (recipient, secret) = identity();
        let path = fixture.home().join("checkout/secrets");
        fs::create_dir_all(&path).expect("a folder");
        let sealed = encrypt(&fixture, &recipient, &format!("TOKEN: {CANARY}\n")).await;
        fs::write(path.join(FILE), sealed).expect("a file");
        Self { fixture, path, recipient, secret }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path.join(FILE)).expect("a file")
    }

    fn rules(&self, rules: &str) {
        fs::write(self.path.with_file_name(".sops.yaml"), rules).expect("rules");
    }

    /// Runs `rekey` with these variables, where there is no cluster.
    async fn rekey(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let folder = self.path.to_str().expect("text");
        let local = ["--local", folder, "--kubeconfig", "/does/not/exist", "--allow-loopback-endpoints"];
        let mut command = self.fixture.command(PLUGIN, &[&["rekey"], arguments, &local].concat());
        command.envs(variables.iter().copied());
        let outcome = run(command, b"").await;
        assert!(outcome.stdout.is_empty() && !outcome.stderr.contains(CANARY), "{outcome:?}");
        for (name, value) in variables.iter().filter(|(name, _)| name.contains("TOKEN") || name.contains("SECRET")) {
            assert!(!outcome.stderr.contains(value), "{name} is shown: {outcome:?}");
        }
        outcome
    }

    /// Runs the real `sops` on the file, with these variables.
    async fn sops(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let program = e2e::tools::path(e2e::tools::Tool::Sops).await.expect("sops");
        let file = self.path.join(FILE);
        let arguments = [arguments, &[file.to_str().expect("text")]].concat();
        let mut command = self.fixture.command(program.to_str().expect("text"), &arguments);
        command.envs(variables.iter().copied()).current_dir(self.path.parent().expect("the checkout"));
        run(command, b"").await
    }

    async fn opens(&self, variables: &[(&str, &str)]) -> bool {
        let outcome = self.sops(&["decrypt", "--output-type", "json"], variables).await;
        if outcome.code == 0 {
            assert_eq!(outcome.json(), json!({"TOKEN": CANARY}));
        }
        outcome.code == 0
    }

    /// Moves the file from one recipient to another, with a new data key.
    async fn moves(&self, from: &str, to: &str, variables: &[&[(&str, &str)]]) {
        self.moves_with(&[], from, to, variables).await;
    }

    async fn moves_with(&self, flags: &[&str], from: &str, to: &str, variables: &[&[(&str, &str)]]) {
        let arguments = [flags, &["--add", to, "--rm", from, "--rotate"]].concat();
        let moved = self.rekey(&arguments, &variables.concat()).await;
        assert_eq!(moved.code, 0, "{from} to {to}: {moved:?}");
        assert!(moved.stderr.contains(&format!("added {to}")), "{moved:?}");
        assert!(!moved.stderr.contains("no file had"), "{moved:?}");
    }
}

/// A key of AWS KMS, and what leads there.
async fn kms() -> (String, &'static Moto) {
    let moto = Moto::shared().await.expect("moto");
    let credential =
        "AWS4-HMAC-SHA256 Credential=behind/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
    let answer = reqwest::Client::new()
        .post(moto.url())
        .header("authorization", credential)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "TrentService.CreateKey")
        .body("{}")
        .send()
        .await
        .expect("moto answers");
    let created: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
    (created["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned(), moto)
}

#[tokio::test]
async fn a_file_goes_from_one_key_service_to_the_next_with_the_persons_own_credentials() {
    let folder = Folder::new().await;
    let namespace = &folder.fixture.namespace;
    let age = [("SOPS_AGE_KEY", folder.secret.as_str())];

    let vault = Vault::shared().await.expect("a Vault");
    let mount = format!("transit/{namespace}");
    vault.must("POST", &format!("sys/mounts/{mount}"), json!({"type": "transit"})).await.expect("an engine");
    vault.must("POST", &format!("{mount}/keys/files"), json!({})).await.expect("a key");
    let transit = format!("{}/v1/{mount}/keys/files", vault.url());
    let of_vault = [("VAULT_ADDR", vault.url()), ("VAULT_TOKEN", vault.root_token())];
    folder.moves(&folder.recipient, &transit, &[&age, &of_vault]).await;
    assert!(folder.opens(&of_vault).await && !folder.opens(&age).await);

    let (arn, moto) = kms().await;
    let of_aws = [
        ("AWS_ENDPOINT_URL", moto.url()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    folder.moves(&transit, &arn, &[&of_vault, &of_aws]).await;
    assert!(folder.opens(&[&of_aws[..], &[("AWS_REGION", "us-east-1")]].concat()).await);
    assert!(!folder.opens(&of_vault).await);

    let gcp = Gcp::start().expect("a Google Cloud");
    let (key, token) = (gcp.create_key("files").expect("a key"), gcp.access_token("ada@example.com").expect("a token"));
    let address = gcp.plain_url();
    let of_google = [
        ("SOPS_GCP_KMS_ENDPOINT", address.as_str()),
        ("GOOGLE_OAUTH_ACCESS_TOKEN", token.as_str()),
        ("SOPS_GCP_KMS_CLIENT_TYPE", "rest"),
    ];
    folder.moves(&arn, &key, &[&of_aws, &of_google]).await;
    assert!(folder.opens(&of_google).await && !folder.opens(&of_aws).await);

    // A file names a vault of Microsoft's, and the stand-in is asked for its keys. That it can be opened shows on the way back.
    let azure = AzureVault::start().await.expect("a vault");
    let version = azure.create_key("files").expect("a key");
    azure.register(AzureApplication {
        tenant: "72f988bf-86f1-41af-91ab-2d7cd011db47".into(),
        client: "11111111-2222-3333-4444-555555555555".into(),
        secret: Some("secret-of-the-person-0123456789abcdef".into()),
        rights: vec!["encrypt", "decrypt"],
        ..AzureApplication::default()
    });
    let authority = folder.fixture.home().join("ca.pem");
    fs::write(&authority, azure.ca_pem()).expect("a file");
    let url = azure.url();
    let of_azure = [
        ("SSL_CERT_FILE", authority.to_str().expect("text")),
        ("AZURE_AUTHORITY_HOST", url.as_str()),
        ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ("AZURE_CLIENT_ID", "11111111-2222-3333-4444-555555555555"),
        ("AZURE_CLIENT_SECRET", "secret-of-the-person-0123456789abcdef"),
    ];
    let newest = "https://orders.vault.azure.net/keys/files";
    let stand_in = format!("--service-endpoint=azure-keys={url}");
    folder.moves_with(&[&stand_in], &key, newest, &[&of_google, &of_azure]).await;
    assert!(folder.text().contains(&version), "the version that was used is named");
    folder.moves_with(&[&stand_in], newest, &folder.recipient, &[&of_azure]).await;
    assert!(folder.opens(&age).await && !folder.opens(&of_google).await);
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_and_nothing_is_written() {
    let folder = Folder::new().await;
    let before = folder.text();
    let age = ("SOPS_AGE_KEY", folder.secret.as_str());
    let refused = async |to: &str, variables: &[(&str, &str)], why: &str| {
        let refused = folder.rekey(&["--add", to], &[&[age], variables].concat()).await;
        assert_eq!(refused.code, 3, "{to}: {refused:?}");
        assert!(refused.stderr.contains(why), "{to}: {refused:?}");
        assert_eq!(folder.text(), before);
    };
    let elsewhere = "https://vault.invalid:8200/v1/transit/keys/files";
    refused(elsewhere, &[("VAULT_TOKEN", "hvs.canary-token")], "--allow-endpoint vault.invalid").await;
    // Named by the person, it is asked, and not found: no such name can be (RFC 6761).
    let named = [("VAULT_TOKEN", "hvs.canary-token"), ("VAULT_ADDR", "https://vault.invalid:8200")];
    refused(elsewhere, &named, "cannot resolve host vault.invalid").await;
    refused(elsewhere, &[("VAULT_ADDR", "https://vault.invalid:8200")], "run `vault login`").await;
    let google = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
    refused(google, &[], "gcloud auth application-default login").await;
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let arn = "arn:aws:kms:us-east-1:123456789012:key/0f1e";
    refused(arn, &[off], "there are no AWS credentials").await;
    refused(arn, &[off, ("AWS_ENDPOINT_URL_KMS", "nowhere")], "AWS_ENDPOINT_URL_KMS is no address").await;
    refused("https://files.vault.azure.net/keys/k", &[], "az login").await;
}

#[tokio::test]
async fn without_changes_the_rules_say_who_can_open_as_with_updatekeys() {
    let folder = Folder::new().await;
    let (two, other) = identity();
    let age = [("SOPS_AGE_KEY", folder.secret.as_str())];
    let none = folder.rekey(&[], &age).await;
    assert!(none.code == 3 && none.stderr.contains("there is no .sops.yaml"), "{none:?}");
    folder.rules(&format!("creation_rules:\n- path_regex: ^secrets/\n  age: {},{two}\n", folder.recipient));

    // The same file by `sops`, and by us.
    let before = folder.text();
    let theirs = folder.sops(&["updatekeys", "--yes"], &age).await;
    assert_eq!(theirs.code, 0, "{theirs:?}");
    let listed = |text: &str| {
        let recipients =
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("recipient: "));
        recipients.map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = listed(&folder.text());
    assert_eq!(expected.len(), 2);
    fs::write(folder.path.join(FILE), &before).expect("a file");
    let ours = folder.rekey(&[], &age).await;
    assert_eq!(ours.code, 0, "{ours:?}");
    assert!(ours.stderr.contains(&format!("added {two}")) && !ours.stderr.contains("change it"), "{ours:?}");
    assert_eq!(listed(&folder.text()), expected);
    assert!(folder.opens(&age).await && folder.opens(&[("SOPS_AGE_KEY", &other)]).await);
    let again = folder.rekey(&[], &age).await;
    assert!(again.code == 0 && again.stderr.contains("stays as it is"), "{again:?}");

    // Two groups, both of which are needed; then a key of KMS with a profile of the person's own.
    folder.rules(&format!("creation_rules:\n- key_groups:\n  - age: [{}]\n  - age: [{two}]\n", folder.recipient));
    let grouped = folder.rekey(&[], &age).await;
    assert!(grouped.code == 0 && grouped.stderr.contains("other key groups"), "{grouped:?}");
    let both = format!("{}\n{other}", folder.secret);
    assert!(!folder.opens(&age).await && folder.opens(&[("SOPS_AGE_KEY", &both)]).await);

    let (arn, moto) = kms().await;
    folder.rules(&format!("creation_rules:\n- kms: {arn}\n  aws_profile: team\n"));
    let home = folder.fixture.home().join(".aws");
    fs::create_dir(&home).expect("a folder");
    let keys = "[team]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG\n";
    fs::write(home.join("credentials"), keys).expect("a file");
    let aws = [("AWS_ENDPOINT_URL", moto.url()), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "us-east-1")];
    let moved = folder.rekey(&[], &[&[("SOPS_AGE_KEY", both.as_str())], &aws[..]].concat()).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(moved.stderr.contains("may have kept the data key"), "{moved:?}");
    assert!(folder.text().contains("aws_profile: team"));
    assert!(folder.opens(&aws).await && !folder.opens(&[("SOPS_AGE_KEY", &both)]).await);

    // A rule that is for none of the files, and a cluster, which has no rules.
    let before = folder.text();
    folder.rules("creation_rules:\n- path_regex: ^other\n  age: age1x\n");
    let refused = folder.rekey(&[], &aws).await;
    assert!(refused.code == 3 && refused.stderr.contains("no creation rule is for"), "{refused:?}");
    assert_eq!(folder.text(), before);
    let nothing = folder.fixture.run(&["rekey"]).await;
    assert!(nothing.code == 2 && nothing.stderr.contains("--local DIR"), "{nothing:?}");
}

#[tokio::test]
async fn a_recipient_joins_the_key_group_that_is_named() {
    let folder = Folder::new().await;
    let ((two, other), (three, third)) = (identity(), identity());
    folder.rules(&format!("creation_rules:\n- key_groups:\n  - age: [{}]\n  - age: [{two}]\n", folder.recipient));
    let both = format!("{}\n{other}", folder.secret);
    let age = [("SOPS_AGE_KEY", both.as_str())];
    assert_eq!(folder.rekey(&[], &age).await.code, 0);
    let before = folder.text();
    for (arguments, why) in [
        (&["--add", &three][..], "has 2 key groups: say with --group"),
        (&["--add", &three, "--group", "3"], "has 2 key groups, and no number 3"),
    ] {
        let refused = folder.rekey(arguments, &age).await;
        assert!(refused.code == 3 && refused.stderr.contains(why), "{refused:?}");
    }
    for arguments in [&["--add", &three, "--group", "0"][..], &["--rotate", "--group", "1"]] {
        assert_eq!(folder.rekey(arguments, &age).await.code, 2, "{arguments:?}");
    }
    assert_eq!(folder.text(), before);
    let joined = folder.rekey(&["--add", &three, "--group", "2"], &age).await;
    assert_eq!(joined.code, 0, "{joined:?}");
    let first_and_third = format!("{}\n{third}", folder.secret);
    let second_and_third = format!("{other}\n{third}");
    assert!(folder.opens(&[("SOPS_AGE_KEY", &first_and_third)]).await && folder.opens(&age).await);
    assert!(!folder.opens(&[("SOPS_AGE_KEY", &second_and_third)]).await, "both are of the second group");
}
