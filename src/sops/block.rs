//! The `sops` block of a file as it is written: fields in the order of their names, as `sops` sorts them; what is not known
//! stays where it is.

use super::creation::Selection;
use super::error::Error;
use super::keys::{AwsKmsKey, MasterKeyKind, Recipient, WrappedGroups};
use super::tree::{self, Entry, Item, Kind, Map, Node, Scalar, get, put, remove};

/// The version of `sops` whose files these are. It reads no file without one.
const VERSION: &str = "3.13.3";

/// The block of a new file, without master keys, time and MAC.
pub(super) fn fresh(selection: Option<&Selection>, mac_only_encrypted: bool) -> Map {
    let mut block = Map::new();
    if let Some(selection) = selection {
        let (field, text) = selection.field();
        put_sorted(&mut block, field, Node::text(text));
    }
    if mac_only_encrypted {
        put_sorted(&mut block, "mac_only_encrypted", boolean());
    }
    complete(&mut block);
    block
}

/// Adds what `sops` does not read a file without.
pub(super) fn complete(block: &mut Map) {
    if get(block, "version").is_none() {
        put_sorted(block, "version", Node::text(VERSION));
    }
}

/// Sets the time and the encrypted MAC.
pub(super) fn set_mac(block: &mut Map, last_modified: &str, mac: String) {
    put_sorted(block, "lastmodified", Node::text(last_modified));
    put_sorted(block, "mac", Node::text(mac));
}

/// Whether something that looks like a list of master keys has a name that is not known. A new data key cannot be
/// encrypted to those.
pub(super) fn has_unknown_keys(block: &Map) -> bool {
    let known = |name: &str| name == "key_groups" || MasterKeyKind::ALL.iter().any(|kind| kind.field() == name);
    let looks_like_keys = |node: &Node| match node {
        Node::List(items) => items.iter().any(|item| match item {
            Item::Value(Node::Map(map)) => get(map, "enc").is_some(),
            Item::Value(Node::Null | Node::Scalar(_) | Node::List(_)) | Item::Comment(_) => false,
        }),
        Node::Null | Node::Scalar(_) | Node::Map(_) => false,
    };
    let unknown = |map: &Map| {
        map.iter().any(|entry| match entry {
            Entry::Pair(name, node) => !known(name) && looks_like_keys(node),
            Entry::Comment(_) => false,
        })
    };
    let in_groups = match get(block, "key_groups") {
        Some(Node::List(items)) => items.iter().any(|item| match item {
            Item::Value(Node::Map(map)) => unknown(map),
            Item::Value(Node::Null | Node::Scalar(_) | Node::List(_)) | Item::Comment(_) => false,
        }),
        Some(Node::Null | Node::Scalar(_) | Node::Map(_)) | None => false,
    };
    unknown(block) || in_groups
}

/// Replaces the lists of master keys. One group stands beside the other fields, several in `key_groups`.
///
/// # Errors
/// [`Error::BadKeyGroups`] for no group.
pub(super) fn set_groups(block: &mut Map, wrapped: WrappedGroups) -> Result<(), Error> {
    let WrappedGroups { mut groups, threshold } = wrapped;
    let mut before = groups_before(block);
    if groups.len() == 1 {
        set_lists(block, groups.pop().unwrap_or_default());
        remove(block, "key_groups");
        // With one group there is nothing to share.
        if before.len() > 1 {
            remove(block, "shamir_threshold");
        }
        return Ok(());
    }
    if groups.is_empty() {
        return Err(Error::BadKeyGroups { problem: "there is no key group" });
    }
    set_lists(block, Vec::new());
    before.resize_with(groups.len(), Map::new);
    let lists = before.into_iter().zip(groups).map(|(mut group, entries)| {
        set_lists(&mut group, entries);
        Item::Value(Node::Map(group))
    });
    let lists = lists.collect();
    put_sorted(block, "key_groups", Node::List(lists));
    put_sorted(block, "shamir_threshold", Node::Scalar(Scalar::new(Kind::Integer, threshold.to_string())));
    Ok(())
}

/// The maps of the groups that a block has, for what is not known in them.
fn groups_before(block: &Map) -> Vec<Map> {
    match get(block, "key_groups") {
        Some(Node::List(items)) => items
            .iter()
            .filter_map(|item| match item {
                Item::Value(Node::Map(map)) => Some(tree::copy(map)),
                Item::Value(Node::Null | Node::Scalar(_) | Node::List(_)) | Item::Comment(_) => None,
            })
            .collect(),
        Some(Node::Null | Node::Scalar(_) | Node::Map(_)) | None => Vec::new(),
    }
}

/// Sets the list of each kind of master key; a kind without any loses its list, unless that is empty already.
fn set_lists(map: &mut Map, entries: Vec<(Recipient, Map)>) {
    let mut entries: Vec<(MasterKeyKind, Map)> =
        entries.into_iter().map(|(recipient, entry)| (recipient.kind(), entry)).collect();
    for kind in MasterKeyKind::ALL {
        let (of_kind, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(other, _)| *other == kind);
        entries = rest;
        let has_keys = match get(map, kind.field()) {
            Some(Node::List(items)) => !items.is_empty(),
            Some(Node::Null | Node::Scalar(_) | Node::Map(_)) | None => false,
        };
        if of_kind.is_empty() {
            if has_keys {
                remove(map, kind.field());
            }
            continue;
        }
        let items = of_kind.into_iter().map(|(_, entry)| Item::Value(Node::Map(entry))).collect();
        put_sorted(map, kind.field(), Node::List(items));
    }
}

/// The entry of a new master key.
pub(super) fn entry(recipient: &Recipient, encrypted: &str, now: &str) -> Map {
    let mut entry = Map::new();
    let mut set = |name: &str, text: &str| put_sorted(&mut entry, name, Node::text(text));
    set("enc", encrypted);
    match recipient {
        Recipient::Age(recipient) => {
            set("recipient", recipient);
            return entry;
        }
        Recipient::AwsKms(AwsKmsKey { arn, role, context, profile }) => {
            set("arn", arn);
            set("aws_profile", profile.as_deref().unwrap_or_default());
            if let Some(role) = role {
                set("role", role);
            }
            if !context.is_empty() {
                let context = context.iter().map(|(key, text)| Entry::Pair(key.clone(), Node::text(text))).collect();
                put_sorted(&mut entry, "context", Node::Map(context));
            }
        }
        Recipient::GcpKms { resource_id } => set("resource_id", resource_id),
        Recipient::AzureKeyVault { vault_url, name, version } => {
            set("vault_url", vault_url);
            set("name", name);
            set("version", version);
        }
        Recipient::VaultTransit { address, engine_path, key_name } => {
            set("vault_address", address);
            set("engine_path", engine_path);
            set("key_name", key_name);
        }
        Recipient::HuaweiKms { key_id } => set("key_id", key_id),
        Recipient::Pgp { fingerprint } => set("fp", fingerprint),
    }
    put_sorted(&mut entry, "created_at", Node::text(now));
    entry
}

/// Replaces a field, or adds it before the first one whose name is larger.
fn put_sorted(map: &mut Map, name: &str, value: Node) {
    if get(map, name).is_some() {
        put(map, name, value);
        return;
    }
    let place = map.iter().position(|entry| matches!(entry, Entry::Pair(key, _) if key.as_str() > name));
    map.insert(place.unwrap_or(map.len()), Entry::Pair(name.to_owned(), value));
}

fn boolean() -> Node {
    Node::Scalar(Scalar::new(Kind::Boolean, "true".to_owned()))
}
