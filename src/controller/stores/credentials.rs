//! Which credentials a store is opened with: told by what its objects hold, not by how often they were written.
//!
//! A new connection means a new login, so one is made when the bytes of the credentials differ and at no other time: not
//! because a namespace begins to be watched, not because somebody labels the Secret. The watches show metadata alone, so
//! an object that was written is read once and its bytes are compared by a digest, whose key lives as long as the process.
//!
//! ```text
//! an object was written ──▶ the present look is out of date ──whoever connects next──▶ read, compare ──differs──▶ a new
//! (a watch says so, or its version does at the next use)                                                        connection
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::OnceCell;

use super::super::Context;
use super::super::relations::StoreKey;
use super::{State, Stores, is_object_watched};
use crate::backend::connect::Watched;
use crate::cluster;
use crate::value::{Digest, DigestKey, SecretValue};

impl Stores {
    /// What changes with the credentials of a store. Where they are not watched, their metadata are looked at for each
    /// use, so that a changed one takes effect.
    pub(super) async fn credentials_version(&self, context: &Context, key: &StoreKey) -> String {
        let (mut look, objects) = {
            let state = self.lock();
            let Some(known) = state.known.get(key) else { return String::new() };
            (Arc::clone(&known.look), known.dependencies.credentials.iter().cloned().collect::<Vec<Watched>>())
        };
        let unwatched: Vec<(usize, Watched)> =
            (0..).zip(objects.iter().cloned()).filter(|(_, object)| !is_object_watched(context, object)).collect();
        let seen = match look.is_outdated(context, &unwatched).await {
            None => None,
            Some(is_outdated) => {
                if is_outdated {
                    look = self.look_again(key, &look);
                }
                look.contents(context, &objects).await
            }
        };
        if seen.as_ref().is_some_and(|seen| seen.is_change) {
            // What was read, or could not be read, under other credentials is read again.
            context.refresh.source_changed(key, None);
        }
        // A new attempt to connect says what is wrong.
        seen.and_then(|seen| seen.contents.identity()).unwrap_or_else(|| context.unwatched_credentials())
    }

    /// The look after `outdated`, which others may have asked for, too.
    fn look_again(&self, key: &StoreKey, outdated: &Arc<Look>) -> Arc<Look> {
        let mut state = self.lock();
        let Some(known) = state.known.get_mut(key) else { return Arc::clone(outdated) };
        if Arc::ptr_eq(&known.look, outdated)
            && let Some(next) = outdated.after()
        {
            known.look = Arc::new(next);
        }
        Arc::clone(&known.look)
    }

    /// The stores that log in with an object that was written; whoever connects them next looks at it.
    pub fn by_credential(&self, object: &Watched) -> Vec<StoreKey> {
        let mut state = self.lock();
        let State { known, by_object } = &mut *state;
        let mut concerned = Vec::new();
        for store in by_object.get(object).into_iter().flatten() {
            if let Some(known) = known.get_mut(store).filter(|known| known.dependencies.credentials.contains(object)) {
                if let Some(next) = known.look.after() {
                    known.look = Arc::new(next);
                }
                concerned.push(store.clone());
            }
        }
        concerned
    }
}

/// The contents of the objects that a store logs in with: a digest for each, `None` where there is no such object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents(Vec<Option<Digest>>);

impl Contents {
    /// What tells these contents from all others; `None` if an object is missing.
    fn identity(&self) -> Option<String> {
        let parts: Option<Vec<String>> = self.0.iter().map(|digest| digest.map(Digest::to_hex)).collect();
        Some(parts?.join("/"))
    }
}

/// One look at the credentials, shared by all who need it.
#[derive(Debug)]
pub(super) struct Look {
    before: Before,
    begun: AtomicBool,
    found: OnceCell<Found>,
}

/// What the look before this one found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Before {
    /// There was none: nobody connected under other credentials.
    NoLook,
    /// It was under way, so it may have found either.
    Unknown,
    Contents(Contents),
}

#[derive(Debug)]
struct Found {
    versions: Vec<Option<Box<str>>>,
    contents: Contents,
}

/// What a look found.
struct Seen {
    contents: Contents,
    /// Whether the caller's is the look that found them other than before.
    is_change: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { before: Before::NoLook, begun: AtomicBool::new(false), found: OnceCell::new() }
    }
}

impl Look {
    /// The look that is due after an object was written. `None` if this one will see it.
    fn after(&self) -> Option<Self> {
        if !self.begun.load(Ordering::SeqCst) {
            return None;
        }
        let before = match (self.found.get(), &self.before) {
            (Some(found), _) => Before::Contents(found.contents.clone()),
            (None, Before::NoLook) => Before::Unknown,
            (None, known) => known.clone(),
        };
        Some(Self { before, ..Self::default() })
    }

    /// Whether an object that no watch tells of has another version than this look saw. `None` if one cannot be asked
    /// for.
    async fn is_outdated(&self, context: &Context, unwatched: &[(usize, Watched)]) -> Option<bool> {
        let Some(found) = self.found.get() else { return Some(false) };
        for (index, object) in unwatched {
            let version = match version(context, object).await {
                Ok(version) => version,
                // Silence says nothing about credentials; a refusal does.
                Err(error) if error.refusal().is_none() => continue,
                Err(_) => return None,
            };
            if found.versions.get(*index) != Some(&version) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// What the objects hold, read once for all who ask. `None` if one cannot be read.
    async fn contents(&self, context: &Context, objects: &[Watched]) -> Option<Seen> {
        self.begun.store(true, Ordering::SeqCst);
        let mut is_change = false;
        let reading = async {
            let mut found = Found { versions: Vec::new(), contents: Contents(Vec::new()) };
            for object in objects {
                let read = read(context, object).await?;
                let (version, digest) = read.unzip();
                found.versions.push(version);
                found.contents.0.push(digest);
            }
            is_change = match &self.before {
                Before::NoLook => false,
                Before::Unknown => true,
                Before::Contents(before) => *before != found.contents,
            };
            Ok::<_, cluster::Error>(found)
        };
        let contents = self.found.get_or_try_init(|| reading).await.ok()?.contents.clone();
        Some(Seen { contents, is_change })
    }
}

async fn version(context: &Context, object: &Watched) -> Result<Option<Box<str>>, cluster::Error> {
    let found = match object {
        Watched::Secret { namespace, name } => context.objects.get_secret_metadata(namespace, name).await?,
        Watched::ConfigMap { namespace, name } => context.objects.get_config_map_metadata(namespace, name).await?,
        // Holds values, no credentials.
        Watched::ValueSecrets { namespace: _ } => None,
    };
    Ok(found.map(|metadata| metadata.resource_version.into()))
}

async fn read(context: &Context, object: &Watched) -> Result<Option<(Box<str>, Digest)>, cluster::Error> {
    let found = match object {
        Watched::Secret { namespace, name } => {
            let found = context.objects.get_secret(namespace, name).await?;
            found.map(|secret| (secret.metadata, secret.data))
        }
        Watched::ConfigMap { namespace, name } => {
            let found = context.objects.get_config_map(namespace, name).await?;
            found.map(|config_map| (config_map.metadata, config_map.data))
        }
        Watched::ValueSecrets { namespace: _ } => None,
    };
    Ok(found.map(|(metadata, data)| (metadata.resource_version.into(), digest(&context.process_key, &data))))
}

fn digest(key: &Arc<DigestKey>, data: &BTreeMap<String, SecretValue>) -> Digest {
    key.digest(data.iter().flat_map(|(name, value)| [name.as_bytes(), value.expose()]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

    use super::*;

    fn found(text: &str) -> Found {
        let data = BTreeMap::from([("key".to_owned(), SecretValue::from(text.to_owned()))]);
        let digest = digest(&Arc::new(DigestKey::new("test".into(), vec![1; 32])), &data);
        Found { versions: vec![Some("1".into())], contents: Contents(vec![Some(digest)]) }
    }

    fn looked(before: Before, text: &str) -> Look {
        let look = Look { before, begun: AtomicBool::new(true), found: OnceCell::new() };
        look.found.set(found(text)).unwrap();
        look
    }

    #[test]
    fn a_look_that_nobody_began_sees_what_was_written_before_it() {
        assert!(Look::default().after().is_none());
    }

    #[test]
    fn a_look_knows_what_the_one_before_it_found() {
        let first = looked(Before::NoLook, "one");
        let second = first.after().unwrap();
        assert_eq!(second.before, Before::Contents(found("one").contents));
        // Written again while the second one is under way.
        second.begun.store(true, Ordering::SeqCst);
        assert_eq!(second.after().unwrap().before, Before::Contents(found("one").contents));
        let under_way = Look { begun: AtomicBool::new(true), ..Look::default() };
        assert_eq!(under_way.after().unwrap().before, Before::Unknown);
    }

    #[test]
    fn contents_without_an_object_are_nobodys() {
        assert_eq!(found("one").contents.identity(), found("one").contents.identity());
        assert_ne!(found("one").contents.identity(), found("two").contents.identity());
        assert_eq!(Contents(vec![found("one").contents.0[0], None]).identity(), None);
    }
}
