//! Kubeconfig files: how the programs under test come to know the API server and who they are.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::pki::Identity;

/// How a kubeconfig proves who its user is.
pub(super) enum Credential<'a> {
    Token(&'a str),
    Certificate(&'a Identity),
}

/// Everything in a kubeconfig with one context.
pub(super) struct Contents<'a> {
    pub(super) server: &'a str,
    pub(super) authority: &'a str,
    pub(super) user: &'a str,
    pub(super) credential: &'a Credential<'a>,
    pub(super) namespace: &'a str,
}

impl Contents<'_> {
    /// Writes it as JSON, which is YAML as well.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let Self { server, authority, user, credential, namespace } = self;
        let credential = match credential {
            Credential::Token(token) => json!({"token": token}),
            Credential::Certificate(Identity { certificate, key }) => json!({
                "client-certificate-data": BASE64.encode(certificate),
                "client-key-data": BASE64.encode(key),
            }),
        };
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "e2e",
                "cluster": {"server": server, "certificate-authority-data": BASE64.encode(authority)},
            }],
            "users": [{"name": user, "user": credential}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user, "namespace": namespace}}],
            "current-context": "e2e",
        });
        write_private(path, &serde_json::to_string_pretty(&kubeconfig)?)
    }
}

/// Copies a kubeconfig to `path` with every server replaced by `server`.
///
/// # Errors
///
/// When it holds a client certificate: a proxy that ends TLS cannot pass that on.
pub(super) fn redirect(kubeconfig: &Path, server: &str, path: &Path) -> anyhow::Result<()> {
    let mut contents = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("could not read the kubeconfig {}", kubeconfig.display()))?;
    for user in contents.auth_infos.iter().filter_map(|user| user.auth_info.as_ref()) {
        anyhow::ensure!(
            user.client_certificate.is_none() && user.client_certificate_data.is_none(),
            "the kubeconfig {} identifies its user by a certificate, which ends at the proxy: use one with a token",
            kubeconfig.display()
        );
    }
    for cluster in contents.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.server = Some(server.to_owned());
    }
    write_private(path, &serde_json::to_string_pretty(&contents)?)
}

/// Writes a file that only its owner may read.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("could not write {}", path.display()))
}
