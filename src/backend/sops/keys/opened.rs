//! Data keys that a service decrypted, for as long as they are worth the call that they save.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::backend::Error;
use crate::sops::MasterKey;
use crate::value::SecretValue;

/// Who loses the right to use a key can have files opened for so long.
const KEPT: Duration = Duration::from_secs(3600);
/// More than the files of one store have; a file larger than its limit cannot name more.
const MOST: usize = 1024;

/// Data keys by what a file holds of them.
#[derive(Default)]
pub(super) struct Opened {
    keys: Mutex<HashMap<[u8; 32], (Instant, SecretValue)>>,
}

impl Opened {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Instant, SecretValue)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was decrypted before, or else what `ask` decrypts.
    pub(super) async fn or_ask(
        &self,
        master_key: &MasterKey,
        ask: impl Future<Output = Result<SecretValue, Error>>,
    ) -> Result<SecretValue, Error> {
        let name = name(master_key);
        {
            let mut keys = self.lock();
            keys.retain(|_, (since, _)| since.elapsed() < KEPT);
            if let Some((_, key)) = keys.get(&name) {
                return Ok(copy(key));
            }
        }
        let key = ask.await?;
        let mut keys = self.lock();
        if keys.len() >= MOST {
            keys.clear();
        }
        keys.insert(name, (Instant::now(), copy(&key)));
        Ok(key)
    }
}

/// The entry as a whole: with another context or role it is another question.
fn name(master_key: &MasterKey) -> [u8; 32] {
    let MasterKey { recipient, encrypted } = master_key;
    Sha256::new().chain_update(format!("{recipient:?}")).chain_update([0]).chain_update(encrypted).finalize().into()
}

fn copy(key: &SecretValue) -> SecretValue {
    SecretValue::new(key.expose().to_vec())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::backend::ErrorKind;
    use crate::sops::{AwsKmsKey, Recipient};

    fn entry(context: &str, encrypted: &str) -> MasterKey {
        let context = BTreeMap::from([("stage".to_owned(), context.to_owned())]);
        let recipient = Recipient::AwsKms(AwsKmsKey { arn: "arn".into(), context, ..AwsKmsKey::default() });
        MasterKey { recipient, encrypted: encrypted.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unchanged_entry_is_asked_for_once_an_hour() {
        let (opened, asked) = (Opened::default(), AtomicU32::new(0));
        let ask = async || {
            asked.fetch_add(1, Ordering::SeqCst);
            Ok(SecretValue::from("data key".to_owned()))
        };
        for _ in 0..3 {
            assert!(opened.or_ask(&entry("a", "x"), ask()).await.unwrap().equals(b"data key"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        for other in [entry("b", "x"), entry("a", "y")] {
            opened.or_ask(&other, ask()).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3, "another context and another entry are other keys");
        tokio::time::advance(KEPT).await;
        opened.or_ask(&entry("a", "x"), ask()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn an_error_is_not_kept() {
        let opened = Opened::default();
        let failing = async { Err(Error::new(ErrorKind::Unavailable, "no")) };
        assert!(opened.or_ask(&entry("a", "x"), failing).await.is_err());
        let good = async { Ok(SecretValue::from("data key".to_owned())) };
        assert!(opened.or_ask(&entry("a", "x"), good).await.is_ok());
    }
}
