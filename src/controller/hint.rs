//! Which right is missing, and the command that grants it.

use super::Context;
use super::relations::StoreKey;
use crate::backend::credentials::TOKEN_OF;

impl Context {
    /// As [`grant_hint`](Self::grant_hint), for the objects that a store reads and the tokens that it asks for. `error`
    /// says in our own words what was tried.
    #[must_use]
    pub fn read_hint(&self, store: &StoreKey, error: &str) -> String {
        if let Some((_, account)) = error.split_once(TOKEN_OF) {
            let (account, _) = account.split_once(':').unwrap_or((account, ""));
            return format!(
                "the operator may not request tokens of ServiceAccount {account}; list it in serviceAccountTokens of the \
                 chart, or grant create on serviceaccounts/token of this account by a Role and a RoleBinding there"
            );
        }
        match store {
            StoreKey::Store { namespace, .. } => self.grant_hint("read", "Secrets or ConfigMaps", namespace),
            StoreKey::ClusterStore { name } => format!(
                "the operator may not read the Secrets or ConfigMaps of its own namespace {} that ClusterStore {name} \
                 names; grant get, list and watch on them by a Role and a RoleBinding there",
                self.identity.namespace
            ),
        }
    }

    /// What is missing and the command that grants it.
    #[must_use]
    pub fn grant_hint(&self, verb: &str, resource: &str, namespace: &str) -> String {
        let account = self.identity.user.strip_prefix("system:serviceaccount:");
        let subject = match account {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user={}", self.identity.user),
        };
        format!(
            "the operator may not {verb} {resource} in namespace {namespace}; grant it: kubectl -n {namespace} create \
             rolebinding atmos-secrets-operator --clusterrole=atmos-secrets-operator-namespace {subject}"
        )
    }
}
