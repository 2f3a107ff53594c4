//! Stores for a person who changes SOPS files, in the cluster or in a folder.

use std::sync::Arc;

use super::{ConnectRequest, Connected, Prepared, Provider, connect_with, prepare};
use crate::api::store::Encoding;
use crate::backend::credentials::{Credentials, References, Surroundings, UserCredentials};
use crate::backend::guarded::DEFAULT_TIMEOUT;
use crate::backend::network::Network;
use crate::backend::sops::{self, FileAccess, Keyring, NewFiles, Source};
use crate::backend::{Error, ErrorKind};
use crate::sops::MasterKeyKind;

/// Connects a store for a person, who can change SOPS files as well. Other kinds of stores are as
/// [`connect`](super::connect()) has them.
///
/// # Errors
/// As [`connect`](super::connect()).
pub async fn connect_files(request: ConnectRequest<'_>, access: FileAccess) -> Result<Connected, Error> {
    connect_with(request, Some(access)).await
}

/// The files of a `sops` store, to change who can open them.
///
/// # Errors
/// As [`connect`](super::connect()); [`ErrorKind::Unsupported`] for another kind of store.
pub async fn sops_files(request: ConnectRequest<'_>, access: FileAccess) -> Result<sops::Sops, Error> {
    let Prepared { provider, objects, around } = prepare(request)?;
    let in_context = |error: Error| error.in_context(&around.store);
    let Provider::Sops(spec) = provider else {
        let message = format!("a store of kind {} has no files", provider.kind());
        return Err(in_context(Error::new(ErrorKind::Unsupported, message)));
    };
    let (files, _) = sops::connect(spec, objects, &around, Some(access)).await.map_err(in_context)?;
    Ok(files)
}

/// Files of a folder, for a person who needs no cluster for them: keys of these kinds are used with the person's own
/// credentials, wherever they are.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] for what is no age identity.
pub async fn local_files(
    user: UserCredentials,
    kinds: &[MasterKeyKind],
    network: &Network,
    source: Box<dyn Source>,
    new_files: NewFiles,
) -> Result<sops::Sops, Error> {
    let named = sops::age_keys(user.age.iter().map(|(name, text)| (name.as_str(), text)))?;
    let around = Arc::new(Surroundings {
        store: "files".to_owned(),
        namespace: "local".to_owned(),
        encoding: Encoding::default(),
        timeout: DEFAULT_TIMEOUT,
        references: References::none(),
        credentials: Credentials::OfUser(user),
        network: network.clone(),
    });
    let keys = Arc::new(Keyring::new(named).with_services_of_person(kinds, &around).await);
    let writer = sops::Writer { wrapper: Box::new(Arc::clone(&keys)), new_files, overwrites_managed: false };
    Ok(sops::Sops::new(source, Box::new(keys), []).with_writer(writer))
}
