//! Stores for a person who changes SOPS files, in the cluster or in a folder.

use std::sync::Arc;

use super::{ConnectRequest, Connected, Prepared, Provider, connect_with, prepare};
use crate::backend::credentials::UserCredentials;
use crate::backend::sops::{self, FileAccess, Keyring, NewFiles, Source};
use crate::backend::{Error, ErrorKind};

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

/// Files of a folder, for a person who needs no cluster for them.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] for what is no age identity.
pub fn local_files(user: &UserCredentials, source: Box<dyn Source>, new_files: NewFiles) -> Result<sops::Sops, Error> {
    let keys = Arc::new(Keyring::new(sops::age_keys(user.age.iter().map(|(name, text)| (name.as_str(), text)))?));
    let writer = sops::Writer { wrapper: Box::new(Arc::clone(&keys)), new_files, overwrites_managed: false };
    Ok(sops::Sops::new(source, Box::new(keys), []).with_writer(writer))
}
