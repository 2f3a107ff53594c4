//! Keys that are made of several secrets, and targets that are one document.

use atmos_secrets::api::status::{READY, STALLED};
use atmos_secrets::api::{Reason, marks};
use serde_json::{Value, json};

use crate::harness::{Tenant, condition, secret};

/// A Stack `prod` whose component `db` has USER, PASSWORD and HOST of one JSON value, and OPTIONAL, with these targets.
async fn apply(tenant: &Tenant, targets: &str) -> anyhow::Result<()> {
    let spec = format!(
        "{{defaultStore: app, components: {{terraform: {{db: {{
            secrets: {{vars: {{
                USER: {{backendKey: atmos.prod.db#RDS, path: .username, required: true}},
                PASSWORD: {{backendKey: atmos.prod.db#RDS, path: .password, required: true}},
                OPTIONAL: {{}}}}}},
            targets: {targets}}}}}}}}}"
    );
    tenant.stack("prod", &spec).await
}

async fn store(tenant: &Tenant, password: &str, optional: Option<&str>) -> anyhow::Result<()> {
    let document = json!({"username": "app", "password": password}).to_string();
    let mut values = vec![("RDS", document.as_str())];
    values.extend(optional.map(|value| ("OPTIONAL", value)));
    tenant.values("atmos.prod.db", &values).await
}

async fn tenant() -> anyhow::Result<(Tenant, String)> {
    let tenant = Tenant::new().await?;
    tenant.store("app", "kubernetes: {}").await?;
    let password = tenant.plain_canary();
    store(&tenant, &format!("{password}/@"), None).await?;
    Ok((tenant, password))
}

const URL: &str =
    "{{ ctx.namespace }} postgres://{{ USER | urlencode }}:{{ PASSWORD | urlencode }}@db/{{ ctx.component }}";

#[tokio::test]
async fn templates_and_formats_reach_the_secret() -> anyhow::Result<()> {
    let (tenant, password) = tenant().await?;
    let targets = format!(
        "{{url: {{template: {{data: {{URL: '{URL}'}}}}}},
           env: {{format: Dotenv}},
           json: {{format: Json, keys: {{user: USER, optional: OPTIONAL}}}},
           tf: {{format: TfvarsEnv, keys: {{user: USER}}}},
           pull: {{type: kubernetes.io/dockerconfigjson,
                  template: {{data: {{.dockerconfigjson: '{{{{ dockerconfigjson(\"ghcr.io\", USER, PASSWORD) }}}}'}}}}}}}}"
    );
    apply(&tenant, &targets).await?;
    tenant.wait_ready("prod").await?;
    let url = |password: &str| format!("{} postgres://app:{password}%2F%40@db/db", tenant.namespace);
    assert_eq!(tenant.secret("url").await?, secret(&[("URL", &url(&password))]));
    assert_eq!(
        tenant.secret("env").await?,
        secret(&[(".env", &format!("PASSWORD={password}/@\nUSER=app\n"))]),
        "an optional name without a value is left out"
    );
    assert_eq!(tenant.secret("json").await?, secret(&[("secrets.json", "{\n  \"user\": \"app\"\n}\n")]));
    assert_eq!(tenant.secret("tf").await?, secret(&[("TF_VAR_user", "app")]));
    let pull: Value = serde_json::from_slice(&tenant.secret("pull").await?.unwrap()[".dockerconfigjson"])?;
    assert_eq!(pull["auths"]["ghcr.io"]["password"], json!(format!("{password}/@")));
    assert_eq!(tenant.secrets().get("pull").await?.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));

    // A rotated part renders again what it is in, and nothing else is written.
    let rotated = tenant.plain_canary();
    store(&tenant, &format!("{rotated}/@"), None).await?;
    tenant.wait_secret("url", secret(&[("URL", &url(&rotated))])).await?;
    tenant.wait_secret("env", secret(&[(".env", &format!("PASSWORD={rotated}/@\nUSER=app\n"))])).await?;
    tenant.sync("prod").await?;
    for (target, writes) in [("url", 2), ("env", 2), ("pull", 2), ("json", 1), ("tf", 1)] {
        assert_eq!(tenant.operator_writes(target)?.len(), writes, "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_said_before_anything_is_read() -> anyhow::Result<()> {
    let (tenant, _) = tenant().await?;
    for (template, reason, words) in [
        ("{{ USER", Reason::InvalidTarget, "line 1 column 1: it cannot be read here"),
        ("x\\n{{ USER | env }}", Reason::InvalidTarget, "line 2 column 11: there is no filter env"),
        ("{{ PASWORD }}", Reason::NotDeclared, "line 1 column 4: PASWORD is not declared here; did you mean PASSWORD?"),
    ] {
        apply(&tenant, &format!("{{url: {{template: {{data: {{URL: \"{template}\"}}}}}}}}")).await?;
        let status = tenant.wait_reason("prod", reason).await?;
        let message = &condition(&status, READY).unwrap().message;
        assert!(message.contains("target url: template of key URL: ") && message.contains(words), "{message}");
        assert_eq!(condition(&status, STALLED).unwrap().reason, reason.as_str());
    }
    assert_eq!(tenant.operator_writes("url")?, []);
    Ok(())
}

#[tokio::test]
async fn a_template_in_an_annotation_is_a_tainted_sink() -> anyhow::Result<()> {
    let (tenant, _) = tenant().await?;
    apply(&tenant, "{url: {annotations: {example.com/password: '{{ PASSWORD }}'}}}").await?;
    let status = tenant.wait_reason("prod", Reason::TaintedSink).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("annotation example.com/password looks like a template"), "{message}");
    assert_eq!(condition(&status, STALLED).unwrap().reason, "TaintedSink");
    assert_eq!(tenant.operator_writes("url")?, []);
    Ok(())
}

#[tokio::test]
async fn a_template_that_fails_leaves_the_secret_as_it_is() -> anyhow::Result<()> {
    let (tenant, password) = tenant().await?;
    let targets = "{line: {template: {data: {a: 'x{{ PASSWORD | dotenv }}'}}}}";
    apply(&tenant, targets).await?;
    tenant.wait_ready("prod").await?;
    let before = secret(&[("a", &format!("x{password}/@"))]);
    // `@` and `/` are plain in a dotenv file.
    assert_eq!(tenant.secret("line").await?, before);
    let rotated = tenant.plain_canary();
    store(&tenant, &format!("{rotated}\0"), None).await?;
    let status = tenant.wait_reason("prod", Reason::TransformFailed).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("target line: template of key a: line 1: a value with a NUL"), "{message}");
    assert!(condition(&status, STALLED).is_none(), "another value cures it");
    assert_eq!(tenant.secret("line").await?, before);
    store(&tenant, &rotated, None).await?;
    tenant.wait_secret("line", secret(&[("a", &format!("x{rotated}"))])).await
}

#[tokio::test]
async fn a_value_that_cannot_stand_in_its_format_is_named() -> anyhow::Result<()> {
    let (tenant, password) = tenant().await?;
    apply(&tenant, "{env: {format: Dotenv, keys: {PW: PASSWORD}}}").await?;
    tenant.wait_ready("prod").await?;
    let before = secret(&[(".env", &format!("PW={password}/@\n"))]);
    assert_eq!(tenant.secret("env").await?, before);
    let rotated = tenant.plain_canary();
    store(&tenant, &format!("{rotated}\0"), None).await?;
    let status = tenant.wait_reason("prod", Reason::TypeMismatch).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("the value of PW in target env holds a NUL"), "{message}");
    assert_eq!(tenant.secret("env").await?, before);
    Ok(())
}

#[tokio::test]
async fn a_name_whose_value_is_gone_stays_in_its_document() -> anyhow::Result<()> {
    let (tenant, password) = tenant().await?;
    let optional = tenant.plain_canary();
    store(&tenant, &password, Some(&optional)).await?;
    apply(&tenant, "{env: {format: Dotenv}}").await?;
    tenant.wait_ready("prod").await?;
    let document = |password: &str| format!("OPTIONAL={optional}\nPASSWORD={password}\nUSER=app\n");
    assert_eq!(tenant.secret("env").await?, secret(&[(".env", &document(&password))]));
    let rotated = tenant.plain_canary();
    store(&tenant, &rotated, None).await?;
    tenant.wait_secret("env", secret(&[(".env", &document(&rotated))])).await
}

/// Templates work on what transforms made, and what a document brings lies in the target's format, beside them.
#[tokio::test]
async fn transforms_documents_and_templates_meet_in_one_target() -> anyhow::Result<()> {
    let (tenant, password) = tenant().await?;
    let apply = async |targets: &str| {
        let spec = format!(
            "{{defaultStore: app, components: {{terraform: {{db: {{
                secrets: {{vars: {{
                    PASSWORD: {{backendKey: atmos.prod.db#RDS, required: true,
                               transforms: [{{jsonExtract: {{path: .password}}}}, {{replace: {{from: /@, to: '-'}}}}]}},
                    DOC: {{backendKey: atmos.prod.db#RDS, required: true, extract: {{prefix: db_}}}}}}}},
                targets: {targets}}}}}}}}}"
        );
        tenant.stack("prod", &spec).await
    };
    // Adopted, since every key that it has is one that the target will have.
    let mark = json!({"annotations": {marks::ADOPT: "prod"}});
    for target in ["all", "tf"] {
        let keys = ["url", "db_username"].map(|key| match target {
            "tf" => format!("TF_VAR_{key}"),
            _ => key.to_owned(),
        });
        let data = [(keys[0].as_str(), "before"), (keys[1].as_str(), "before")];
        tenant.apply_secret(target, mark.clone(), "Opaque", &data).await?;
    }
    let template = "inherit: All, template: {data: {url: 'db:{{ PASSWORD }}'}}";
    apply(&format!(
        "{{all: {{{template}}}, env: {{format: Dotenv, {template}}}, tf: {{format: TfvarsEnv, {template}}}}}"
    ))
    .await?;
    tenant.wait_ready("prod").await?;
    let (shaped, raw, url) = (format!("{password}-"), format!("{password}/@"), format!("db:{password}-"));
    let keys = [("PASSWORD", &shaped), ("db_password", &raw), ("db_username", &"app".to_owned()), ("url", &url)];
    let all: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    assert_eq!(tenant.secret("all").await?, secret(&all));
    let lines: String = keys.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    assert_eq!(tenant.secret("env").await?, secret(&[(".env", &lines)]));
    let variables: Vec<(String, &str)> =
        keys.iter().map(|(key, value)| (format!("TF_VAR_{key}"), value.as_str())).collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    assert_eq!(tenant.secret("tf").await?, secret(&variables));

    apply("{all: {template: {data: {url: '{{ DOC }}'}}}}").await?;
    let status = tenant.wait_reason("prod", Reason::InvalidTarget).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("template of key url: it names DOC, whose `extract` brings its own keys"), "{message}");
    Ok(())
}
