//! The keys that a store opens files with: age identities, and key services that are asked.
//!
//! What a service decrypted is kept for an hour and then forgotten, by what the file holds: a file that did not change costs
//! no call, however often it is read. It belongs to the connection, so that new credentials and a new definition of the
//! store begin anew.

mod aws_kms;
mod azure_keys;
mod gcp_kms;
mod opened;
mod vault_transit;

use std::sync::Arc;

use async_trait::async_trait;

use self::aws_kms::AwsKms;
use self::azure_keys::AzureKeys;
use self::gcp_kms::GcpKms;
use self::opened::Opened;
use self::vault_transit::{VaultTransit, Vaults};
use crate::api::store::{SopsAwsKms, SopsAzureKeyVault, SopsGcpKms, SopsVaultTransit};
use crate::backend::Error;
use crate::backend::credentials::Surroundings;
use crate::sops::{
    self, AgeKeys, AgeRecipients, AwsKmsKey, KeySource, KeyWrapper, MasterKey, MasterKeyKind, Recipient, Wrapped,
};
use crate::value::SecretValue;

/// Everything that one store can open files with. Can encrypt data keys to the same services, and to every age recipient.
#[derive(Default)]
pub struct Keyring {
    age: AgeKeys,
    aws_kms: Option<AwsKms>,
    /// Or why there is none.
    gcp_kms: Option<Result<GcpKms, Error>>,
    azure_keys: Option<AzureKeys>,
    vault_transit: Option<Vaults>,
    opened: Opened,
}

impl Keyring {
    /// Age identities, and nothing else yet.
    #[must_use]
    pub fn new(age: AgeKeys) -> Self {
        Self { age, ..Self::default() }
    }

    /// Adds AWS KMS. Credentials are read when a file needs them.
    #[must_use]
    pub fn with_aws_kms(self, SopsAwsKms { auth }: &SopsAwsKms, around: &Arc<Surroundings>) -> Self {
        Self { aws_kms: Some(AwsKms::new(auth.clone(), Arc::clone(around))), ..self }
    }

    /// Adds Google Cloud KMS.
    ///
    /// # Errors
    /// What is wrong with its credentials.
    pub async fn with_gcp_kms(self, spec: &SopsGcpKms, around: &Surroundings) -> Result<Self, Error> {
        Ok(Self { gcp_kms: Some(Ok(GcpKms::connect(spec, around).await?)), ..self })
    }

    /// Adds keys in Azure Key Vault. Credentials are read when a file needs them.
    #[must_use]
    pub fn with_azure_keys(self, SopsAzureKeyVault { auth }: &SopsAzureKeyVault, around: &Arc<Surroundings>) -> Self {
        Self { azure_keys: Some(AzureKeys::new(auth.clone(), Arc::clone(around))), ..self }
    }

    /// Adds Vault's transit engine.
    ///
    /// # Errors
    /// What is wrong with its address or its credentials.
    pub async fn with_vault_transit(self, spec: &SopsVaultTransit, around: &Surroundings) -> Result<Self, Error> {
        let vault = Arc::new(VaultTransit::connect(spec, around).await?);
        Ok(Self { vault_transit: Some(Vaults::OfStore(vault)), ..self })
    }

    /// Adds services of these kinds, with a person's own credentials: any key that a file names, where no store says which.
    /// What is wrong with credentials is told when a file needs them.
    #[must_use]
    pub async fn with_services_of_person(mut self, kinds: &[MasterKeyKind], around: &Arc<Surroundings>) -> Self {
        for kind in kinds {
            self = match kind {
                MasterKeyKind::AwsKms => self.with_aws_kms(&SopsAwsKms::default(), around),
                MasterKeyKind::AzureKeyVault => self.with_azure_keys(&SopsAzureKeyVault::default(), around),
                MasterKeyKind::GcpKms => {
                    Self { gcp_kms: Some(GcpKms::connect(&SopsGcpKms::default(), around).await), ..self }
                }
                MasterKeyKind::VaultTransit => Self { vault_transit: Some(Vaults::of_person(around)), ..self },
                MasterKeyKind::Age | MasterKeyKind::HuaweiKms | MasterKeyKind::Pgp => self,
            };
        }
        self
    }

    async fn vault_of(&self, key: vault_transit::Named<'_>) -> Result<Option<Arc<VaultTransit>>, Error> {
        match &self.vault_transit {
            Some(vaults) => vaults.of(key).await,
            None => Ok(None),
        }
    }

    /// The public halves of the age identities.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.age.recipients()
    }
}

#[async_trait]
impl KeySource for Keyring {
    fn names(&self) -> Vec<String> {
        let mut names = self.age.names();
        names.extend(self.aws_kms.is_some().then(|| "AWS KMS".to_owned()));
        names.extend(self.gcp_kms.is_some().then(|| "Google Cloud KMS".to_owned()));
        names.extend(self.azure_keys.is_some().then(|| "Azure Key Vault".to_owned()));
        names.extend(self.vault_transit.as_ref().map(Vaults::name));
        names
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, sops::Error> {
        let MasterKey { recipient, encrypted } = master_key;
        let answer = match recipient {
            Recipient::Age(_) => return self.age.open(master_key).await,
            Recipient::AwsKms(key) => {
                let Some(kms) = &self.aws_kms else { return Ok(None) };
                self.opened.or_ask(master_key, kms.decrypt(of_aws(key), encrypted)).await
            }
            Recipient::VaultTransit { address, engine_path, key_name } => {
                let key = vault_transit::Named { address, engine_path, key_name };
                let vault = self.vault_of(key).await.map_err(|error| failed(recipient, error))?;
                let Some(vault) = vault else { return Ok(None) };
                self.opened.or_ask(master_key, vault.decrypt(key, encrypted)).await
            }
            Recipient::GcpKms { resource_id } => {
                let Some(kms) = &self.gcp_kms else { return Ok(None) };
                let kms = kms.as_ref().map_err(|error| failed(recipient, error.clone()))?;
                self.opened.or_ask(master_key, kms.decrypt(resource_id, encrypted)).await
            }
            Recipient::AzureKeyVault { vault_url, name, version } => {
                let Some(keys) = &self.azure_keys else { return Ok(None) };
                let key = azure_keys::Named { vault_url, name, version };
                self.opened.or_ask(master_key, keys.decrypt(key, encrypted)).await
            }
            Recipient::HuaweiKms { .. } | Recipient::Pgp { .. } => return Ok(None),
        };
        answer.map(Some).map_err(|error| failed(recipient, error))
    }
}

#[async_trait]
impl KeyWrapper for Keyring {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, sops::Error> {
        let encrypted = match recipient {
            Recipient::Age(_) => return AgeRecipients.wrap(recipient, data_key).await,
            Recipient::AwsKms(key) => match &self.aws_kms {
                Some(kms) => kms.encrypt(of_aws(key), data_key).await,
                None => return Ok(None),
            },
            Recipient::VaultTransit { address, engine_path, key_name } => {
                let key = vault_transit::Named { address, engine_path, key_name };
                match self.vault_of(key).await {
                    Ok(Some(vault)) => vault.encrypt(key, data_key).await,
                    Ok(None) => return Ok(None),
                    Err(error) => Err(error),
                }
            }
            Recipient::GcpKms { resource_id } => match &self.gcp_kms {
                Some(Ok(kms)) => kms.encrypt(resource_id, data_key).await,
                Some(Err(error)) => Err(error.clone()),
                None => return Ok(None),
            },
            Recipient::AzureKeyVault { vault_url, name, version } => {
                let Some(keys) = &self.azure_keys else { return Ok(None) };
                let key = azure_keys::Named { vault_url, name, version };
                let encrypted = keys.encrypt(key, data_key).await.map_err(|error| failed(recipient, error))?;
                let (vault_url, name, version) = (vault_url.clone(), name.clone(), encrypted.1);
                let recipient = Recipient::AzureKeyVault { vault_url, name, version };
                return Ok(Some(Wrapped { recipient, encrypted: encrypted.0 }));
            }
            Recipient::HuaweiKms { .. } | Recipient::Pgp { .. } => return Ok(None),
        };
        let encrypted = encrypted.map_err(|error| failed(recipient, error))?;
        Ok(Some(Wrapped { recipient: recipient.clone(), encrypted }))
    }
}

fn of_aws(key: &AwsKmsKey) -> aws_kms::Named<'_> {
    let AwsKmsKey { arn, role, context, profile } = key;
    aws_kms::Named { arn, role: role.as_deref(), profile: profile.as_deref(), context }
}

/// Our own error, carried through the library and found again by [`super::error`].
fn failed(recipient: &Recipient, error: Error) -> sops::Error {
    sops::Error::KeyService { recipient: recipient.to_string(), source: Box::new(error) }
}
