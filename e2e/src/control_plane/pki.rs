//! The certificate authority and keys of one control plane: made at its start, gone at its end.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate with its private key, both PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Signs the server certificates and the client certificates of people.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new one with a new key (ECDSA P-256).
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, "e2e control plane");
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)
            .context("could not make a certificate authority")?;
        Ok(Self { issuer })
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// For a server on loopback, under the names by which clients inside and outside a cluster reach an API server.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub(crate) fn server(&self) -> anyhow::Result<Identity> {
        self.server_named("kube-apiserver", &["kubernetes", "kubernetes.default", "kubernetes.default.svc"])
    }

    /// For a server on loopback that is known by these names, too.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give, or a name cannot be one.
    pub(crate) fn server_named(&self, common_name: &str, names: &[&str]) -> anyhow::Result<Identity> {
        let names: Vec<String> = ["localhost"].iter().chain(names).map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        self.sign(parameters, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a person: Kubernetes takes the common name as the user and the organization as a group
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>).
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give.
    pub(crate) fn person(&self, name: &str, group: Option<&str>) -> anyhow::Result<Identity> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            parameters.distinguished_name.push(DnType::OrganizationName, group);
        }
        self.sign(parameters, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut parameters: CertificateParams, usage: ExtendedKeyUsagePurpose) -> anyhow::Result<Identity> {
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer).context("could not sign a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// The key pair that signs and checks tokens of service accounts: private and public half, PEM.
///
/// # Errors
///
/// When the system has no randomness to give.
pub(crate) fn token_keys() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate().context("could not make a key for service account tokens")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}
