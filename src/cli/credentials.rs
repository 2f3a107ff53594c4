//! The user's own credentials for stores outside the cluster, found where the providers' own tools find them.
//!
//! Vault: `VAULT_TOKEN`, else `~/.vault-token`, where `vault login` puts it
//! (<https://developer.hashicorp.com/vault/docs/commands#environment-variables>). It goes to the host of `VAULT_ADDR` and
//! to those of `--allow-endpoint`, whatever a Store says. `VAULT_NAMESPACE` is read only where there
//! is no Store: a Store says where its values are, to the operator and to its users alike.
//!
//! Google: an access token in `GOOGLE_OAUTH_ACCESS_TOKEN`, as Atmos and Terraform read it, or in
//! `CLOUDSDK_AUTH_ACCESS_TOKEN`, as gcloud does; else the file of `GOOGLE_APPLICATION_CREDENTIALS`; else the one that
//! `gcloud auth application-default login` leaves in gcloud's folder
//! (<https://cloud.google.com/docs/authentication/application-default-credentials>). The metadata server of a machine is
//! not asked: what it gives belongs to the machine.
//!
//! Azure: an application of `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`, with `AZURE_CLIENT_SECRET` or the token in the file of
//! `AZURE_FEDERATED_TOKEN_FILE`
//! (<https://learn.microsoft.com/java/api/overview/azure/identity-readme#environment-variables>); without one the driver
//! asks the Azure CLI. `AZURE_AUTHORITY_HOST` is where an application logs in, if it is not the cloud of the vault.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use reqwest::Url;

use super::compiled::Compiled;
use super::{identities, process};
use crate::api::store::Sops;
use crate::backend::credentials::UserCredentials;
use crate::backend::credentials::azure::{AzureApplication, AzureProof};
use crate::backend::credentials::gcp::Personal;
use crate::backend::network::{AllowedHost, ServiceEndpoint};
use crate::backend::{Error, ErrorKind};
use crate::model::StoreRef;
use crate::sops::MasterKeyKind;
use crate::value::SecretValue;

/// What the store's kind needs, and nothing else; age identities only where files are opened.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] if a file with credentials is there and cannot be read.
pub fn of_user(compiled: &Compiled<'_>, store: &StoreRef, opens_files: bool) -> Result<UserCredentials, Error> {
    let vault = match compiled.is_vault(store) {
        true => vault_token(&process::variable)?,
        false => None,
    };
    let gcp = match compiled.is_gcp(store) {
        true => google(&process::variable)?,
        false => None,
    };
    let azure = match compiled.is_azure(store) {
        true => azure_application(&process::variable)?,
        false => None,
    };
    let age = match opens_files && compiled.is_sops(store) {
        true => age_identities()?,
        false => Vec::new(),
    };
    Ok(UserCredentials { vault, vault_namespace: None, gcp, azure, age })
}

/// What the keys of a store's SOPS files need.
///
/// # Errors
/// As [`of_user`].
pub fn for_files(sops: &Sops) -> Result<UserCredentials, Error> {
    let services = [
        sops.vault_transit.is_some().then_some(MasterKeyKind::VaultTransit),
        sops.gcp_kms.is_some().then_some(MasterKeyKind::GcpKms),
        sops.azure_key_vault.is_some().then_some(MasterKeyKind::AzureKeyVault),
    ];
    // The Store says where in its Vault the keys are.
    Ok(UserCredentials { vault_namespace: None, ..for_keys(&services.into_iter().flatten().collect::<Vec<_>>())? })
}

/// What keys of these kinds need, where no Store says anything about them.
///
/// # Errors
/// As [`of_user`].
pub fn for_keys(kinds: &[MasterKeyKind]) -> Result<UserCredentials, Error> {
    let vault = match kinds.contains(&MasterKeyKind::VaultTransit) {
        true => vault_token(&process::variable)?,
        false => None,
    };
    let gcp = match kinds.contains(&MasterKeyKind::GcpKms) {
        true => google(&process::variable)?,
        false => None,
    };
    let azure = match kinds.contains(&MasterKeyKind::AzureKeyVault) {
        true => azure_application(&process::variable)?,
        false => None,
    };
    let vault_namespace = process::variable("VAULT_NAMESPACE").and_then(|name| name.into_string().ok());
    Ok(UserCredentials { vault, vault_namespace, gcp, azure, age: age_identities()? })
}

/// Where key services are asked if not at their providers' own addresses, by the variables that `sops` follows.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if one of them is no address.
pub fn key_services(kinds: &[MasterKeyKind]) -> Result<Vec<ServiceEndpoint>, Error> {
    let all = [
        (MasterKeyKind::AwsKms, "aws-kms", ["AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"].as_slice()),
        (MasterKeyKind::AwsKms, "aws-sts", &["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]),
        (MasterKeyKind::GcpKms, "gcp-kms", &["SOPS_GCP_KMS_ENDPOINT"]),
    ];
    let mut services = Vec::new();
    for (_, service, variables) in all.into_iter().filter(|(kind, _, _)| kinds.contains(kind)) {
        let found = variables.iter().find_map(|name| process::variable(name).map(|value| (name, value)));
        let Some((name, value)) = found else { continue };
        let invalid = || {
            let message = format!("{name} is no address such as https://kms.example.com");
            Error::new(ErrorKind::InvalidConfig, message)
        };
        let value = value.into_string().map_err(|_| invalid())?;
        services.push(format!("{service}={value}").parse().map_err(|_| invalid())?);
    }
    Ok(services)
}

fn age_identities() -> Result<Vec<(String, SecretValue)>, Error> {
    identities::of_user().map_err(|failure| Error::new(ErrorKind::Unauthenticated, failure.message))
}

/// Where Azure's tools log in, if the environment says so.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] if that is no address: it is the person's own configuration, not the Store's.
pub fn azure_login() -> Result<Option<ServiceEndpoint>, Error> {
    let Some(text) = process::variable("AZURE_AUTHORITY_HOST") else { return Ok(None) };
    let invalid = || {
        let message = "AZURE_AUTHORITY_HOST is no address such as https://login.microsoftonline.us";
        Error::new(ErrorKind::Unauthenticated, message)
    };
    let text = text.into_string().map_err(|_| invalid())?;
    // Azure's own tools take a bare host, too.
    let address = if text.contains("://") { text } else { format!("https://{text}") };
    format!("azure-login={address}").parse().map(Some).map_err(|_| invalid())
}

fn azure_application(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<AzureApplication>, Error> {
    let (Some(tenant), Some(client)) = (variable("AZURE_TENANT_ID"), variable("AZURE_CLIENT_ID")) else {
        return Ok(None);
    };
    let proof = if let Some(secret) = variable("AZURE_CLIENT_SECRET") {
        AzureProof::Secret(SecretValue::new(secret.into_encoded_bytes()))
    } else if let Some(path) = variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from) {
        let token = identities::read(&path).map_err(|error| {
            let (path, why) = (path.display(), error.kind());
            let message = format!("could not read {path}, which AZURE_FEDERATED_TOKEN_FILE names: {why}");
            Error::new(ErrorKind::Unauthenticated, message)
        })?;
        AzureProof::Assertion(token)
    } else {
        return Ok(None);
    };
    // What is no text cannot be an id: the driver says so.
    let text = |value: OsString| value.to_string_lossy().into_owned();
    Ok(Some(AzureApplication { tenant: text(tenant), client: text(client), proof }))
}

/// The host of `VAULT_ADDR`: whoever sets it wants Vault's token to go there.
#[must_use]
pub fn vault_host() -> Option<AllowedHost> {
    host_of(process::variable("VAULT_ADDR")?.to_str()?)
}

fn host_of(address: &str) -> Option<AllowedHost> {
    let url = Url::parse(address).ok()?;
    format!("{}:{}", url.host_str()?, url.port_or_known_default()?).parse().ok()
}

fn vault_token(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<(String, SecretValue)>, Error> {
    if let Some(token) = variable("VAULT_TOKEN") {
        return Ok(Some(("VAULT_TOKEN".to_owned(), SecretValue::new(token.into_encoded_bytes()))));
    }
    let home = if cfg!(windows) { variable("USERPROFILE") } else { variable("HOME") };
    let Some(path) = home.map(|home| PathBuf::from(home).join(".vault-token")) else { return Ok(None) };
    at(&path)
}

fn google(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<(String, Personal)>, Error> {
    for name in ["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"] {
        if let Some(token) = variable(name).filter(|token| !token.is_empty()) {
            return Ok(Some((name.to_owned(), Personal::Token(SecretValue::new(token.into_encoded_bytes())))));
        }
    }
    let named = variable("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty());
    let Some(path) = named.clone().map(PathBuf::from).or_else(|| gcloud_file(variable)) else { return Ok(None) };
    match at(&path)? {
        Some((origin, text)) => Ok(Some((origin, Personal::File(text)))),
        None if named.is_some() => {
            let message = format!("there is no {}, which GOOGLE_APPLICATION_CREDENTIALS names", path.display());
            Err(Error::new(ErrorKind::Unauthenticated, message))
        }
        None => Ok(None),
    }
}

/// Where `gcloud auth application-default login` puts its file.
fn gcloud_file(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = match variable("CLOUDSDK_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None if cfg!(windows) => PathBuf::from(variable("APPDATA")?).join("gcloud"),
        None => PathBuf::from(variable("HOME")?).join(".config").join("gcloud"),
    };
    Some(folder.join("application_default_credentials.json"))
}

/// A file with credentials under its own name; `None` if there is none.
fn at(path: &Path) -> Result<Option<(String, SecretValue)>, Error> {
    match identities::read(path) {
        Ok(text) => Ok(Some((path.display().to_string(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("could not read {}: {}", path.display(), error.kind());
            Err(Error::new(ErrorKind::Unauthenticated, message))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_variable_goes_before_the_file_of_vault_login() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().as_os_str().to_owned();
        let at_home = |name: &str| (name == "HOME").then(|| home.clone());
        assert!(vault_token(&at_home).unwrap().is_none());
        let file = folder.path().join(".vault-token");
        std::fs::write(&file, "hvs.file\n").unwrap();
        let (origin, token) = vault_token(&at_home).unwrap().unwrap();
        assert_eq!(origin, file.display().to_string());
        assert!(token.equals(b"hvs.file\n"));
        let both =
            |name: &str| if name == "VAULT_TOKEN" { Some(OsString::from("hvs.variable")) } else { at_home(name) };
        let (origin, token) = vault_token(&both).unwrap().unwrap();
        assert!(origin == "VAULT_TOKEN" && token.equals(b"hvs.variable"));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(vault_token(&at_home).err().unwrap().message.contains(".vault-token"));
    }

    #[test]
    fn googles_tokens_go_before_files_and_named_files_before_gclouds_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let default = home.join(".config/gcloud/application_default_credentials.json");
        std::fs::create_dir_all(default.parent().unwrap()).unwrap();
        let (named, configured) = (folder.path().join("named.json"), folder.path().join("config"));
        std::fs::create_dir(&configured).unwrap();
        let in_config = configured.join("application_default_credentials.json");
        for file in [&default, &named, &in_config] {
            std::fs::write(file, "{}").unwrap();
        }
        let find = |variables: &[(&str, &Path)]| {
            let variable = |wanted: &str| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| value.as_os_str().to_owned())
            };
            google(&variable).map(|found| found.map(|(origin, _)| origin))
        };
        let shown = |path: &Path| Ok(Some(path.display().to_string()));
        let at_home = ("HOME", home.as_path());
        let config = ("CLOUDSDK_CONFIG", configured.as_path());
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", named.as_path());
        let (gcloud, oauth) = ("CLOUDSDK_AUTH_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN");
        assert_eq!(find(&[]), Ok(None));
        assert_eq!(find(&[("HOME", Path::new("/does/not/exist"))]), Ok(None));
        assert_eq!(find(&[at_home]), shown(&default));
        assert_eq!(find(&[at_home, config]), shown(&in_config));
        assert_eq!(find(&[at_home, config, file]), shown(&named));
        assert_eq!(find(&[at_home, file, (gcloud, Path::new("ya29.x"))]), Ok(Some(gcloud.to_owned())));
        let both = [file, (gcloud, Path::new("ya29.x")), (oauth, Path::new("ya29.y"))];
        assert_eq!(find(&both), Ok(Some(oauth.to_owned())));
        assert_eq!(find(&[file, (oauth, Path::new(""))]), shown(&named));
        let nowhere = find(&[at_home, ("GOOGLE_APPLICATION_CREDENTIALS", Path::new("/does/not/exist"))]);
        let error = nowhere.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert_eq!(error.message, "there is no /does/not/exist, which GOOGLE_APPLICATION_CREDENTIALS names");
    }

    #[test]
    fn an_application_of_azure_needs_its_ids_and_a_proof() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "eyJ0\n").unwrap();
        let path = file.path().to_str().unwrap();
        let (tenant, client) = (("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"));
        let (secret, token) = (("AZURE_CLIENT_SECRET", "s"), ("AZURE_FEDERATED_TOKEN_FILE", path));
        let found = |variables: &[(&str, &str)]| {
            let variable =
                |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into());
            azure_application(&variable)
        };
        for few in [&[][..], &[tenant, secret], &[client, secret], &[tenant, client], &[secret, token]] {
            assert!(found(few).unwrap().is_none(), "{few:?}");
        }
        let both = found(&[tenant, client, secret, token]).unwrap().unwrap();
        assert!(matches!(both.proof, AzureProof::Secret(secret) if secret.equals(b"s")));
        let federated = found(&[tenant, client, token]).unwrap().unwrap();
        assert!(matches!(federated.proof, AzureProof::Assertion(token) if token.equals(b"eyJ0\n")));
        let missing = found(&[tenant, client, ("AZURE_FEDERATED_TOKEN_FILE", "/does/not/exist")]).err().unwrap();
        assert_eq!(missing.kind, ErrorKind::Unauthenticated);
        assert!(missing.message.contains("which AZURE_FEDERATED_TOKEN_FILE names"), "{missing}");
    }

    #[test]
    fn the_host_of_the_address_is_allowed_at_its_port_alone() {
        let host = host_of("https://vault.example.com:8200/base").unwrap();
        assert!(host.admits("vault.example.com", Some(8200)));
        assert!(!host.admits("vault.example.com", Some(443)) && !host.admits("example.com", Some(8200)));
        assert!(host_of("https://vault.example.com").unwrap().admits("vault.example.com", Some(443)));
        assert!(host_of("http://127.0.0.1:8200").unwrap().admits("127.0.0.1", Some(8200)));
        assert!(host_of("https://[fd00::7]:8200").unwrap().admits("[fd00::7]", Some(8200)));
        assert_eq!(host_of("vault.example.com"), None);
        assert_eq!(host_of(""), None);
    }
}
