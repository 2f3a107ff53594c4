//! Data keys that a service decrypted, for as long as they are worth the call that they save.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

/// Data keys by what a file holds of them, for an hour each, whether anybody asks again or not.
#[derive(Default)]
pub(super) struct Opened {
    keys: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    known: HashMap<[u8; 32], (Instant, SecretValue)>,
    /// Whether somebody waits to forget the oldest of them.
    is_watched: bool,
}

impl Opened {
    /// What was decrypted before, or else what `ask` decrypts.
    pub(super) async fn or_ask(
        &self,
        master_key: &MasterKey,
        ask: impl Future<Output = Result<SecretValue, Error>>,
    ) -> Result<SecretValue, Error> {
        let name = name(master_key);
        {
            let mut keys = lock(&self.keys);
            keys.forget_old();
            if let Some((_, key)) = keys.known.get(&name) {
                return Ok(copy(key));
            }
        }
        let key = ask.await?;
        let mut keys = lock(&self.keys);
        if keys.known.len() >= MOST {
            keys.known.clear();
        }
        keys.known.insert(name, (Instant::now(), copy(&key)));
        if !keys.is_watched {
            keys.is_watched = true;
            tokio::spawn(forget_in_time(Arc::downgrade(&self.keys), Instant::now() + KEPT));
        }
        Ok(key)
    }
}

impl Keys {
    fn forget_old(&mut self) {
        self.known.retain(|_, (since, _)| since.elapsed() < KEPT);
    }
}

fn lock(keys: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets each key when its hour is over, from `next` on, until there is none. A store of files is watched and not polled:
/// days may go by without a read that could do it. Keys whose connection is gone went with it.
async fn forget_in_time(keys: Weak<Mutex<Keys>>, mut next: Instant) {
    loop {
        tokio::time::sleep_until(next).await;
        let Some(keys) = keys.upgrade() else { return };
        let mut keys = lock(&keys);
        keys.forget_old();
        match keys.known.values().map(|(since, _)| *since).min() {
            Some(oldest) => next = oldest + KEPT,
            None => {
                keys.is_watched = false;
                return;
            }
        }
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

    #[tokio::test(start_paused = true)]
    async fn keys_are_forgotten_although_nobody_asks_again() {
        let opened = Opened::default();
        let ask = async || Ok(SecretValue::from("data key".to_owned()));
        let known = || lock(&opened.keys).known.len();
        // Let whoever waits for this moment have it.
        let pass = async |time| {
            tokio::time::sleep(time).await;
            tokio::task::yield_now().await;
        };
        opened.or_ask(&entry("a", "x"), ask()).await.unwrap();
        pass(KEPT / 2).await;
        opened.or_ask(&entry("b", "x"), ask()).await.unwrap();
        pass(KEPT / 2 - Duration::from_secs(1)).await;
        assert_eq!(known(), 2);
        pass(Duration::from_secs(2)).await;
        assert_eq!(known(), 1);
        pass(KEPT / 2).await;
        assert_eq!(known(), 0);
        // And so on for those that come later.
        opened.or_ask(&entry("a", "x"), ask()).await.unwrap();
        assert_eq!(known(), 1);
        pass(KEPT + Duration::from_secs(1)).await;
        assert_eq!(known(), 0);
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
