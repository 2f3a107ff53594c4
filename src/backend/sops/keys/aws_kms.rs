//! Data keys under keys of AWS KMS.
//!
//! A file names the key's ARN, whose region is where it is asked, an encryption context, and perhaps a role to assume on
//! top of the store's own credentials, as `sops` does it. With ambient credentials such a role is refused: whoever writes
//! a file would choose what the operator becomes. A profile that it names is of a person's own configuration, and means
//! nothing to the operator.
//!
//! | code | kind |
//! |---|---|
//! | `NotFoundException`, `DisabledException`, `KMSInvalidStateException`, `InvalidKeyUsageException` | `Undecodable`: the key cannot be used |
//! | `InvalidCiphertextException`, `IncorrectKeyException` | `Undecodable`: the entry is not of this key, or of another context |
//! | `InvalidArnException`, `ValidationException` | `Undecodable`: the file names no key |
//! | `KeyUnavailableException`, `KMSInternalException` | `Unavailable` |
//! | `DependencyTimeoutException` | `Timeout` |
//! | `InvalidGrantTokenException` | `PermissionDenied` |
//!
//! Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html>. All else as every service of AWS.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;

use crate::api::store::AwsAuth;
use crate::backend::aws::Place;
use crate::backend::aws::error::{Meaning, from_sdk};
use crate::backend::credentials::aws::{Login, Wanted};
use crate::backend::credentials::{Credentials, Surroundings};
use crate::backend::network::Service;
use crate::backend::{Error, ErrorKind};
use crate::value::SecretValue;

/// More places than the files of one store have; crafted files could name any number.
const MOST_PLACES: usize = 64;

/// A key of KMS as a file names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) arn: &'a str,
    pub(super) role: Option<&'a str>,
    pub(super) profile: Option<&'a str>,
    pub(super) context: &'a BTreeMap<String, String>,
}

/// AWS KMS with the credentials of one store.
pub(super) struct AwsKms {
    auth: Option<AwsAuth>,
    around: Arc<Surroundings>,
    /// Each logs in when it is first needed.
    places: Mutex<HashMap<Spot, Arc<Region>>>,
}

/// A region, and a role and a profile that the file names.
type Spot = (String, Option<String>, Option<String>);

struct Region {
    login: Arc<Login>,
    client: Client,
}

impl AwsKms {
    pub(super) fn new(auth: Option<AwsAuth>, around: Arc<Surroundings>) -> Self {
        Self { auth, around, places: Mutex::default() }
    }

    /// Decrypts a data key, as the file holds it.
    pub(super) async fn decrypt(&self, key: Named<'_>, encrypted: &str) -> Result<SecretValue, Error> {
        let tried = format!("decrypt a data key with {}", shown(key.arn));
        let damaged = || Error::new(ErrorKind::Undecodable, format!("cannot {tried}: the entry is not base64"));
        let blob = Blob::new(STANDARD.decode(encrypted.trim()).map_err(|_| damaged())?);
        let place = self.place(key).await?;
        let call = || {
            let call = place.client.decrypt().key_id(key.arn).ciphertext_blob(blob.clone());
            let call = call.set_encryption_context(context(key));
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        let answer = place.login.call(call).await?;
        let empty = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer holds no key"));
        Ok(SecretValue::new(answer.plaintext.ok_or_else(empty)?.into_inner()))
    }

    /// Encrypts a data key, to be put into a file.
    pub(super) async fn encrypt(&self, key: Named<'_>, data_key: &SecretValue) -> Result<String, Error> {
        let tried = format!("encrypt a data key with {}", shown(key.arn));
        let place = self.place(key).await?;
        let call = || {
            let call = place.client.encrypt().key_id(key.arn).plaintext(Blob::new(data_key.expose()));
            let call = call.set_encryption_context(context(key));
            let tried = &tried;
            async move { call.send().await.map_err(|error| from_sdk(&error, tried, codes)) }
        };
        let answer = place.login.call(call).await?;
        let empty = || Error::new(ErrorKind::Unexpected, format!("cannot {tried}: the answer holds no key"));
        Ok(STANDARD.encode(answer.ciphertext_blob.ok_or_else(empty)?.into_inner()))
    }

    async fn place(&self, key: Named<'_>) -> Result<Arc<Region>, Error> {
        let Some(region) = region(key.arn) else {
            let message = format!("{} is not the ARN of a key of AWS KMS", shown(key.arn));
            return Err(Error::new(ErrorKind::Undecodable, message));
        };
        let ambient = self.auth.as_ref().is_some_and(|auth| auth.ambient.is_some());
        if key.role.is_some() && ambient && matches!(self.around.credentials, Credentials::OfStore(_)) {
            let message = format!(
                "the file wants a role assumed for {}, which is not done with ambient credentials: name the role under \
                 sops.awsKms.auth.assumeRole",
                shown(key.arn)
            );
            return Err(Error::new(ErrorKind::PermissionDenied, message));
        }
        let name = (region.to_owned(), key.role.map(str::to_owned), key.profile.map(str::to_owned));
        // Held while the Secret with the credentials is read, so that it is read once.
        let mut places = self.places.lock().await;
        if let Some(place) = places.get(&name) {
            return Ok(Arc::clone(place));
        }
        let wanted = Wanted { role: key.role, profile: key.profile };
        let login = Login::wanted(self.auth.as_ref(), region, wanted, &self.around).await?;
        let endpoint = self.around.network.service(Service::AwsKms).map(|url| url.as_str().trim_end_matches('/'));
        let place = Place { region, endpoint, network: self.around.network.client() };
        let client = Client::new(&place.config(Some(login.provider())));
        let place = Arc::new(Region { login, client });
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        places.insert(name, Arc::clone(&place));
        Ok(place)
    }
}

fn context(key: Named<'_>) -> Option<HashMap<String, String>> {
    let context = key.context.iter().map(|(name, value)| (name.clone(), value.clone()));
    (!key.context.is_empty()).then(|| context.collect())
}

/// The region of a key's or an alias's ARN, `arn:aws:kms:us-east-1:123456789012:key/…`. It becomes part of a host's name, so
/// that nothing but letters, digits and dashes will do.
fn region(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some(_), Some("kms"), Some(region), Some(_), Some(key)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let named = key.strip_prefix("key/").or_else(|| key.strip_prefix("alias/"));
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    (named.is_some_and(|name| !name.is_empty()) && !region.is_empty() && region.chars().all(plain)).then_some(region)
}

/// An ARN out of a file, which anybody may have written.
fn shown(arn: &str) -> String {
    arn.escape_debug().take(120).collect()
}

fn codes(code: &str) -> Option<Meaning> {
    Some(match code {
        "NotFoundException" => (ErrorKind::Undecodable, "there is no such KMS key"),
        "DisabledException" | "KMSInvalidStateException" | "InvalidKeyUsageException" => {
            (ErrorKind::Undecodable, "the KMS key is disabled, marked for deletion or made for something else")
        }
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            (ErrorKind::Undecodable, "what the file holds was not encrypted by this key with this context")
        }
        "InvalidArnException" | "ValidationException" => {
            (ErrorKind::Undecodable, "AWS KMS knows no such name of a key")
        }
        "KeyUnavailableException" | "KMSInternalException" => (ErrorKind::Unavailable, "AWS KMS cannot answer now"),
        "DependencyTimeoutException" => (ErrorKind::Timeout, "AWS KMS did not answer in time"),
        "InvalidGrantTokenException" => (ErrorKind::PermissionDenied, "the grant of the KMS key is not valid"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_that_of_the_key_and_nothing_else() {
        for (arn, expected) in [
            ("arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c", Some("us-east-1")),
            ("arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/sops", Some("us-gov-west-1")),
            ("arn:aws:kms:us-east-1.evil.example:1:key/a", None),
            ("arn:aws:kms:us-east-1/:1:key/a", None),
            ("arn:aws:kms::1:key/a", None),
            ("arn:aws:s3:us-east-1:1:key/a", None),
            ("arn:aws:kms:us-east-1:1:key/", None),
            ("arn:aws:kms:us-east-1:1:grant/a", None),
            ("alias/sops", None),
            ("", None),
        ] {
            assert_eq!(region(arn), expected, "{arn}");
        }
    }

    #[test]
    fn what_aws_says_of_a_key_is_never_a_missing_value() {
        for (code, kind) in [
            ("NotFoundException", ErrorKind::Undecodable),
            ("DisabledException", ErrorKind::Undecodable),
            ("KMSInvalidStateException", ErrorKind::Undecodable),
            ("InvalidKeyUsageException", ErrorKind::Undecodable),
            ("InvalidCiphertextException", ErrorKind::Undecodable),
            ("IncorrectKeyException", ErrorKind::Undecodable),
            ("InvalidArnException", ErrorKind::Undecodable),
            ("ValidationException", ErrorKind::Undecodable),
            ("KeyUnavailableException", ErrorKind::Unavailable),
            ("KMSInternalException", ErrorKind::Unavailable),
            ("DependencyTimeoutException", ErrorKind::Timeout),
            ("InvalidGrantTokenException", ErrorKind::PermissionDenied),
        ] {
            assert_eq!(codes(code).map(|(kind, _)| kind), Some(kind), "{code}");
        }
        assert!(codes("AccessDeniedException").is_none(), "the table of all services has it");
    }
}
