//! Data keys for groups of recipients: who is added, who is removed, and the entries that the metadata lists then.

use super::{KeyWrapper, Recipient, Wrapped};
use crate::sops::block;
use crate::sops::error::Error;
use crate::sops::metadata::Listed;
use crate::sops::shamir;
use crate::sops::tree::{self, Map, Node};
use crate::value::SecretValue;

/// Who can open a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGroups {
    /// Any one key of a group opens the group. With one group, that opens the file.
    pub groups: Vec<Vec<Recipient>>,
    /// How many groups are needed, where there are several. None: all of them; in an update, as many as now.
    pub threshold: Option<usize>,
}

impl KeyGroups {
    /// One group.
    #[must_use]
    pub fn single(recipients: Vec<Recipient>) -> Self {
        Self { groups: vec![recipients], threshold: None }
    }

    /// How many groups are needed to open, if `otherwise` says so where no threshold was chosen.
    ///
    /// # Errors
    /// [`Error::BadKeyGroups`] for no group, an empty one, or a threshold that no number of groups meets.
    pub(in crate::sops) fn needed(&self, otherwise: usize) -> Result<usize, Error> {
        let bad = |problem| Err(Error::BadKeyGroups { problem });
        if self.groups.is_empty() || self.groups.iter().any(Vec::is_empty) {
            return bad("nobody could open the file: name at least one recipient in every key group");
        }
        let count = self.groups.len();
        if count == 1 {
            return Ok(1);
        }
        let needed = match self.threshold {
            // Zero is what a file says that says nothing.
            None | Some(0) => otherwise,
            Some(threshold) => threshold,
        };
        if needed < 2 {
            return bad("the threshold of several key groups is at least 2");
        }
        if needed > count {
            return bad("the threshold is larger than the number of key groups");
        }
        Ok(needed)
    }
}

/// What an update of a file's recipients changed.
///
/// Who is removed cannot open the file as it is now, but may have kept the data key, which did not change, or older
/// revisions: rotate the data key and the values themselves to shut a former recipient out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Who can open the file now and could not before; each once.
    pub added: Vec<Recipient>,
    /// Who could open the file before and cannot now; each once.
    pub removed: Vec<Recipient>,
    /// How many groups are needed, before and after.
    pub threshold: (usize, usize),
}

/// Who was and will be listed.
pub(in crate::sops) struct KeyUpdate<'a> {
    pub(in crate::sops) old: &'a [Vec<Listed>],
    pub(in crate::sops) old_threshold: usize,
    pub(in crate::sops) new: &'a KeyGroups,
}

/// The entries of every group, and how many groups are needed.
pub(in crate::sops) struct WrappedGroups {
    pub(in crate::sops) groups: Vec<Vec<(Recipient, Map)>>,
    pub(in crate::sops) threshold: usize,
}

impl KeyUpdate<'_> {
    /// How many groups will be needed.
    pub(in crate::sops) fn needed(&self) -> Result<usize, Error> {
        let count = self.new.groups.len();
        self.new.needed(if self.old.len() > 1 { self.old_threshold.clamp(2, count.max(2)) } else { count })
    }

    /// What changes; none if nothing does.
    pub(in crate::sops) fn changes(&self) -> Result<Option<KeyChanges>, Error> {
        let needed = self.needed()?;
        let is_in = |recipients: &[Recipient], key: &Recipient| recipients.iter().any(|other| other.is_same_key(key));
        let listed = |group: &[Listed]| group.iter().map(|listed| listed.key.recipient.clone()).collect::<Vec<_>>();
        let old: Vec<Vec<Recipient>> = self.old.iter().map(|group| listed(group)).collect();
        let difference = |from: &[Vec<Recipient>], without: &[Vec<Recipient>]| {
            let without = without.concat();
            let mut rest: Vec<Recipient> = Vec::new();
            for key in from.iter().flatten() {
                if !is_in(&without, key) && !is_in(&rest, key) {
                    rest.push(key.clone());
                }
            }
            rest
        };
        let same_group = |one: &Vec<Recipient>, other: &Vec<Recipient>| {
            one.iter().all(|key| is_in(other, key)) && other.iter().all(|key| is_in(one, key))
        };
        let unchanged = needed == self.old_threshold
            && old.len() == self.new.groups.len()
            && old.iter().zip(&self.new.groups).all(|(one, other)| same_group(one, other));
        if unchanged {
            return Ok(None);
        }
        Ok(Some(KeyChanges {
            added: difference(&self.new.groups, &old),
            removed: difference(&old, &self.new.groups),
            threshold: (self.old_threshold, needed),
        }))
    }

    /// The entries for the same data key. With one group before and after, those who stay keep theirs as they are.
    pub(in crate::sops) async fn wrap(
        &self,
        data_key: &SecretValue,
        wrapper: &dyn KeyWrapper,
        now: &str,
    ) -> Result<WrappedGroups, Error> {
        let threshold = self.needed()?;
        let keeps = self.old.len() == 1 && self.new.groups.len() == 1;
        let entry = |recipient: &Recipient| {
            let listed = self.old.iter().flatten().find(|listed| listed.key.recipient.is_same_key(recipient));
            listed.map(|listed| (listed.key.recipient.clone(), tree::copy(&listed.entry)))
        };
        let shares = shares(data_key, self.new.groups.len(), threshold)?;
        let mut groups = Vec::with_capacity(self.new.groups.len());
        for (recipients, share) in self.new.groups.iter().zip(&shares) {
            let mut entries: Vec<(Recipient, Map)> = Vec::with_capacity(recipients.len());
            for recipient in recipients {
                if entries.iter().any(|(other, _)| other.is_same_key(recipient)) {
                    continue;
                }
                entries.push(match entry(recipient) {
                    Some(kept) if keeps => kept,
                    Some((recipient, before)) => wrapped(&recipient, Some(before), share, wrapper, now).await?,
                    None => wrapped(recipient, None, share, wrapper, now).await?,
                });
            }
            groups.push(entries);
        }
        Ok(WrappedGroups { groups, threshold })
    }
}

/// Entries for a new data key.
pub(in crate::sops) async fn wrap(
    groups: Vec<Vec<(Recipient, Option<Map>)>>,
    threshold: usize,
    data_key: &SecretValue,
    wrapper: &dyn KeyWrapper,
    now: &str,
) -> Result<WrappedGroups, Error> {
    let shares = shares(data_key, groups.len(), threshold)?;
    let mut all = Vec::with_capacity(groups.len());
    for (group, share) in groups.into_iter().zip(&shares) {
        let mut entries: Vec<(Recipient, Map)> = Vec::with_capacity(group.len());
        for (recipient, before) in group {
            if !entries.iter().any(|(other, _)| other.is_same_key(&recipient)) {
                entries.push(wrapped(&recipient, before, share, wrapper, now).await?);
            }
        }
        all.push(entries);
    }
    Ok(WrappedGroups { groups: all, threshold })
}

/// What the recipients of each group get.
fn shares(data_key: &SecretValue, groups: usize, threshold: usize) -> Result<Vec<SecretValue>, Error> {
    if groups == 1 {
        return Ok(vec![SecretValue::new(data_key.expose().to_vec())]);
    }
    shamir::split(data_key, groups, threshold)
}

async fn wrapped(
    recipient: &Recipient,
    before: Option<Map>,
    share: &SecretValue,
    wrapper: &dyn KeyWrapper,
    now: &str,
) -> Result<(Recipient, Map), Error> {
    let Some(Wrapped { recipient, encrypted }) = wrapper.wrap(recipient, share).await? else {
        return Err(Error::BadRecipient {
            recipient: recipient.to_string(),
            problem: match recipient {
                Recipient::Pgp { .. } => "PGP is not supported: remove it from the file's recipients, or use `sops`",
                Recipient::HuaweiKms { .. } => {
                    "Huawei Cloud KMS is not supported: remove it from the file's recipients, or use `sops`"
                }
                Recipient::Age(_)
                | Recipient::AwsKms(_)
                | Recipient::GcpKms { .. }
                | Recipient::AzureKeyVault { .. }
                | Recipient::VaultTransit { .. } => "no credentials are held for keys of its kind",
            },
        });
    };
    let entry = match before {
        Some(mut entry) => {
            tree::put(&mut entry, "enc", Node::text(encrypted));
            if let Recipient::AzureKeyVault { vault_url: _, name: _, version } = &recipient {
                tree::put(&mut entry, "version", Node::text(version));
            }
            entry
        }
        None => block::entry(&recipient, &encrypted, now),
    };
    Ok((recipient, entry))
}
