//! The keys that a store opens files with.

use async_trait::async_trait;

use crate::sops::{self, AgeKeys, AgeRecipients, KeySource, KeyWrapper, MasterKey, Recipient, Wrapped};
use crate::value::SecretValue;

/// Everything that one store can open files with. Can encrypt data keys to every age recipient.
#[derive(Default)]
pub struct Keyring {
    age: AgeKeys,
}

impl Keyring {
    /// Age identities.
    #[must_use]
    pub fn new(age: AgeKeys) -> Self {
        Self { age }
    }

    /// The public halves of the age identities.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.age.recipients()
    }
}

#[async_trait]
impl KeySource for Keyring {
    fn names(&self) -> Vec<String> {
        self.age.names()
    }

    async fn open(&self, master_key: &MasterKey) -> Result<Option<SecretValue>, sops::Error> {
        self.age.open(master_key).await
    }
}

#[async_trait]
impl KeyWrapper for Keyring {
    async fn wrap(&self, recipient: &Recipient, data_key: &SecretValue) -> Result<Option<Wrapped>, sops::Error> {
        AgeRecipients.wrap(recipient, data_key).await
    }
}
