//! The clouds of Microsoft: where their vaults are, what tokens for them are called, and who gives those.
//!
//! Sources: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-types>
//! and <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.

/// One of the clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// The public one.
    Public,
    /// Azure in China, run by 21Vianet.
    China,
    /// Azure for the government of the United States.
    UsGovernment,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::China, Self::UsGovernment];

    /// The cloud that owns the host of a vault; `None` if the host is nobody's of Microsoft.
    #[must_use]
    pub fn of_vault(host: &str) -> Option<Self> {
        let is_of = |cloud: &Self| {
            let name = host.strip_suffix(cloud.domain()).and_then(|rest| rest.strip_suffix('.'));
            // 3 to 24 letters, digits and hyphens are the rule for names; what matters is that no label is hidden in one.
            name.is_some_and(|name| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            })
        };
        Self::ALL.into_iter().find(is_of)
    }

    /// What every vault's host ends with.
    fn domain(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::China => "vault.azure.cn",
            Self::UsGovernment => "vault.usgovcloudapi.net",
        }
    }

    /// What a token must be for.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Public => "https://vault.azure.net",
            Self::China => "https://vault.azure.cn",
            Self::UsGovernment => "https://vault.usgovcloudapi.net",
        }
    }

    /// Where tokens come from.
    #[must_use]
    pub fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::China => "https://login.chinacloudapi.cn",
            Self::UsGovernment => "https://login.microsoftonline.us",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_is_known_by_its_host_and_nothing_else_is() {
        for (host, cloud) in [
            ("mine.vault.azure.net", Some(Cloud::Public)),
            ("my-vault-1.vault.azure.cn", Some(Cloud::China)),
            ("mine.vault.usgovcloudapi.net", Some(Cloud::UsGovernment)),
            ("vault.azure.net", None),
            (".vault.azure.net", None),
            ("a.b.vault.azure.net", None),
            ("minevault.azure.net", None),
            ("mine.vault.azure.net.example.com", None),
            ("mine.vault.azure.net.", None),
            ("mine.vault.azure.example.com", None),
            ("10.0.0.7", None),
        ] {
            assert_eq!(Cloud::of_vault(host), cloud, "{host}");
        }
    }
}
