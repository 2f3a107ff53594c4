//! Where a token comes from: Entra ID for an application, the metadata service for a machine, the Azure CLI for a person.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::Url;
use serde::{Deserialize, Deserializer};
use tokio::process::Command;

use super::error;
use crate::api::store::ServiceAccountToken;
use crate::backend::credentials::References;
use crate::backend::credentials::kept::{self, bearer};
use crate::backend::network::{Client, Request};
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// The audience of a token that is presented for another one
/// (<https://learn.microsoft.com/entra/workload-id/workload-identity-federation>).
const EXCHANGE: &str = "api://AzureADTokenExchange";
/// How long a token is believed to be good if its giver does not say: the Azure CLI renews its own five minutes before.
const UNTOLD_LIFE: Duration = Duration::from_secs(300);

/// Who asks for tokens.
pub(super) enum Source {
    /// An application, by what proves that it is the one.
    Application { tenant: String, client: String, proof: Proof },
    /// The machine, as one of its identities; none is the one that it was born with.
    Machine { client: Option<String>, address: Url },
    /// Whoever has logged in with the Azure CLI, in this tenant or in the one that is chosen there.
    CommandLine { tenant: Option<String> },
}

/// What proves an application.
pub(super) enum Proof {
    Secret(SecretValue),
    /// A token of another issuer.
    Assertion(SecretValue),
    /// A token of a ServiceAccount, asked for when it is needed.
    ServiceAccount {
        account: ServiceAccountToken,
        references: Box<References>,
    },
}

/// Where tokens are asked for.
pub(super) struct Place {
    pub(super) authority: Url,
    pub(super) resource: &'static str,
    pub(super) network: Client,
}

/// A token as a header, and how long it lives.
type Issued = kept::Issued<HeaderValue>;

/// The answer of Entra ID, and of the metadata service, which writes numbers as texts.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default, deserialize_with = "number_or_text")]
    expires_in: Option<u64>,
}

/// What `az account get-access-token` prints.
#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "accessToken")]
    access_token: String,
    /// Seconds of the Unix epoch; older ones tell the time of day alone.
    #[serde(default, deserialize_with = "number_or_text")]
    expires_on: Option<u64>,
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let found = serde_json::Value::deserialize(deserializer)?;
    Ok(found.as_u64().or_else(|| found.as_str()?.parse().ok()))
}

impl Source {
    pub(super) async fn token(&self, place: &Place) -> Result<Issued, Error> {
        match self {
            Self::Application { tenant, client, proof } => application(tenant, client, proof, place).await,
            Self::Machine { client, address } => machine(client.as_deref(), address, place).await,
            Self::CommandLine { tenant } => command_line(tenant.as_deref(), place.resource).await,
        }
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`
/// (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>).
async fn application(tenant: &str, client: &str, proof: &Proof, place: &Place) -> Result<Issued, Error> {
    let tried = format!("log in to Azure as application {client} of tenant {tenant}");
    let mut form = format!(
        "grant_type=client_credentials&client_id={client}&scope={}",
        percent_encode(format!("{}/.default", place.resource).as_bytes(), NON_ALPHANUMERIC)
    );
    let add_assertion = |form: &mut String, token: &SecretValue| {
        form.push_str("&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer");
        form.push_str("&client_assertion=");
        form.extend(percent_encode(token.expose().trim_ascii(), NON_ALPHANUMERIC));
    };
    match proof {
        Proof::Secret(secret) => {
            form.push_str("&client_secret=");
            form.extend(percent_encode(secret.expose(), NON_ALPHANUMERIC));
        }
        Proof::Assertion(token) => add_assertion(&mut form, token),
        Proof::ServiceAccount { account, references } => {
            add_assertion(&mut form, &references.token(account, EXCHANGE).await?.token);
        }
    }
    let authority = place.authority.as_str().trim_end_matches('/');
    let request = http::Request::post(format!("{authority}/{tenant}/oauth2/v2.0/token"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json");
    let answer = place.network.send(built(request, form.into_bytes())?).await?;
    if answer.status() != 200 {
        return Err(error::of_login(&answer, &tried));
    }
    granted(answer.body(), &tried)
}

/// `GET /metadata/identity/oauth2/token`
/// (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>).
async fn machine(client: Option<&str>, address: &Url, place: &Place) -> Result<Issued, Error> {
    let tried = match client {
        Some(client) => format!("log in to Azure as this machine's managed identity {client}"),
        None => "log in to Azure as this machine's own managed identity".to_owned(),
    };
    let mut address = address.clone();
    address.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", place.resource);
    if let Some(client) = client {
        address.query_pairs_mut().append_pair("client_id", client);
    }
    let request = http::Request::get(address.as_str()).header("Metadata", "true");
    let answer = place.network.send(built(request, Vec::new())?).await?;
    if answer.status() != 200 {
        return Err(error::of_machine(&answer, &tried));
    }
    granted(answer.body(), &tried)
}

/// `az account get-access-token` (<https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>). What it
/// says on its standard error is not ours to repeat.
async fn command_line(tenant: Option<&str>, resource: &str) -> Result<Issued, Error> {
    let failed = |what: &str| {
        let message =
            format!("{what}: run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET");
        Error::new(ErrorKind::Unauthenticated, message)
    };
    let mut command = Command::new(if cfg!(windows) { "az.cmd" } else { "az" });
    command.args(["account", "get-access-token", "--output", "json", "--resource", resource]);
    if let Some(tenant) = tenant {
        command.args(["--tenant", tenant]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|_| failed("there are no Azure credentials, and no Azure CLI"))?;
    let printed = Bytes::from(output.stdout);
    if !output.status.success() {
        return Err(failed("the Azure CLI gives no token"));
    }
    let Printed { access_token, expires_on } =
        serde_json::from_slice(&printed).map_err(|_| failed("the Azure CLI prints no token"))?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    let life = expires_on.map_or(UNTOLD_LIFE, |end| Duration::from_secs(end.saturating_sub(now)));
    Ok(Issued { credential: bearer(&SecretValue::from(access_token), "Azure")?, life: Some(life) })
}

fn built(request: http::request::Builder, body: Vec<u8>) -> Result<Request, Error> {
    let unusable = || Error::new(ErrorKind::InvalidConfig, "the address of the Azure login cannot be one");
    request.body(Bytes::from(body)).map_err(|_| unusable())
}

fn granted(body: &[u8], tried: &str) -> Result<Issued, Error> {
    // The parser's words quote what it read.
    let Granted { access_token, expires_in } = serde_json::from_slice(body)
        .map_err(|_| Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer holds no token")))?;
    let life = expires_in.map_or(UNTOLD_LIFE, Duration::from_secs);
    Ok(Issued { credential: bearer(&SecretValue::from(access_token), "Azure")?, life: Some(life) })
}
