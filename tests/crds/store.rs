//! Rules of Stores and ClusterStores.

use crate::cluster::Kind::{ClusterStore, Store};
use crate::rules::{Rule, check};

#[tokio::test]
async fn rules_of_stores_hold() {
    check(RULES).await;
}

pub const RULES: &[Rule] = &[
    Rule {
        says: "a Store has exactly one provider",
        kind: Store,
        accepts: &[
            "{kubernetes: {}}",
            "{awsSecretsManager: {region: us-east-1}}",
            "{awsSsm: {region: us-east-1}}",
            "{vault: {address: 'https://vault:8200', mount: secret}}",
            "{azureKeyVault: {vaultUrl: 'https://a.vault.azure.net'}}",
            "{gcpSecretManager: {projectId: p}}",
            "{sops: {source: {configMaps: [a]}}}",
        ],
        refuses: &[
            ("{}", "spec", ONE_OF_SEVEN),
            ("{kubernetes: {}, sops: {source: {secrets: [a]}}}", "spec", ONE_OF_SEVEN),
            ("{awsSsm: {region: a}, awsSecretsManager: {region: a}}", "spec", ONE_OF_SEVEN),
        ],
    },
    Rule {
        says: "a ClusterStore has exactly one provider, and not kubernetes",
        kind: ClusterStore,
        accepts: &[
            "{allowedNamespaces: {}, shared: true, awsSecretsManager: {region: us-east-1}}",
            "{allowedNamespaces: {names: [a]}, shared: true, awsSsm: {region: us-east-1}}",
            "{allowedNamespaces: {selector: {matchLabels: {a: b}}}, shared: true, vault: {address: 'https://vault:8200', mount: secret}}",
            "{allowedNamespaces: {names: [a], selector: {}}, shared: true, azureKeyVault: {vaultUrl: 'https://a.vault.azure.net'}}",
            "{allowedNamespaces: {}, shared: true, gcpSecretManager: {projectId: p}}",
            "{allowedNamespaces: {}, shared: true, sops: {source: {configMaps: [a]}}}",
        ],
        refuses: &[
            ("{allowedNamespaces: {}, shared: true}", "spec", ONE_OF_SIX),
            (
                "{allowedNamespaces: {}, shared: true, awsSsm: {region: a}, awsSecretsManager: {region: a}}",
                "spec",
                ONE_OF_SIX,
            ),
        ],
    },
    Rule {
        says: "a ClusterStore says who may use it",
        kind: ClusterStore,
        accepts: &["{allowedNamespaces: , shared: true, awsSsm: {region: us-east-1}}"],
        refuses: &[
            ("{shared: true, awsSsm: {region: us-east-1}}", "spec.allowedNamespaces", "Required value"),
            (
                "{allowedNamespaces: {names: ['*']}, shared: true, awsSsm: {region: us-east-1}}",
                "spec.allowedNamespaces.names[0]",
                "\"*\": spec.allowedNamespaces.names[0] in body should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
            ),
        ],
    },
    Rule {
        says: "a ClusterStore keeps namespaces apart, or says that it does not",
        kind: ClusterStore,
        accepts: &[
            "{allowedNamespaces: {}, prefix: 'atmos/{namespace}', awsSsm: {region: us-east-1}}",
            "{allowedNamespaces: {}, prefix: '{namespace}', awsSsm: {region: us-east-1}}",
            "{allowedNamespaces: {}, prefix: '/a/{namespace}/b', shared: false, awsSsm: {region: us-east-1}}",
            "{allowedNamespaces: {}, prefix: atmos, shared: true, awsSsm: {region: us-east-1}}",
        ],
        refuses: &[
            ("{allowedNamespaces: {}, awsSsm: {region: us-east-1}}", "spec.prefix", APART),
            ("{allowedNamespaces: {}, prefix: atmos, awsSsm: {region: us-east-1}}", "spec.prefix", APART),
            (
                "{allowedNamespaces: {}, prefix: atmos, shared: false, awsSsm: {region: us-east-1}}",
                "spec.prefix",
                APART,
            ),
            (
                "{allowedNamespaces: {}, prefix: 'a-{namespace}', shared: true, awsSsm: {region: us-east-1}}",
                "spec.prefix",
                WHOLE,
            ),
            (
                "{allowedNamespaces: {}, prefix: 'a/{namespace}/x{namespace}', awsSsm: {region: us-east-1}}",
                "spec.prefix",
                WHOLE,
            ),
        ],
    },
    Rule {
        says: "{namespace} is refused where keys cannot keep segments apart",
        kind: ClusterStore,
        accepts: &[],
        refuses: &[
            (
                "{allowedNamespaces: {}, prefix: '{namespace}', azureKeyVault: {vaultUrl: 'https://a.vault.azure.net'}}",
                "spec.prefix",
                NO_SEGMENTS,
            ),
            (
                "{allowedNamespaces: {}, prefix: 'a/{namespace}', shared: true, gcpSecretManager: {projectId: p}}",
                "spec.prefix",
                NO_SEGMENTS,
            ),
        ],
    },
    Rule {
        says: "ambient credentials exist only in a ClusterStore",
        kind: Store,
        accepts: &[],
        refuses: &[
            ("{awsSecretsManager: {region: a, auth: {ambient: {}}}}", "spec", AMBIENT),
            ("{awsSsm: {region: a, auth: {ambient: {}}}}", "spec", AMBIENT),
            ("{sops: {source: {configMaps: [a]}, awsKms: {auth: {ambient: {}}}}}", "spec", AMBIENT),
        ],
    },
    Rule {
        says: "a ClusterStore may use ambient credentials",
        kind: ClusterStore,
        accepts: &[
            "{allowedNamespaces: {}, shared: true, awsSecretsManager: {region: a, auth: {ambient: {}}}}",
            "{allowedNamespaces: {}, shared: true, awsSsm: {region: a, auth: {ambient: {}, assumeRole: [{roleArn: 'arn:aws:iam::123456789012:role/a'}]}}}",
            "{allowedNamespaces: {}, shared: true, sops: {source: {configMaps: [a]}, awsKms: {auth: {ambient: {}}}}}",
        ],
        refuses: &[],
    },
    Rule {
        says: "AWS credentials are of one kind, with roles on top",
        kind: Store,
        accepts: &[
            "{awsSsm: {region: a, auth: {secret: {name: a}}}}",
            "{awsSsm: {region: a, auth: {secret: {name: a, accessKeyIdKey: b, secretAccessKeyKey: c, sessionTokenKey: d}}}}",
            "{awsSsm: {region: a, auth: {serviceAccount: {name: a, audience: b}, assumeRole: [{roleArn: 'arn:aws:iam::123456789012:role/a', externalId: ab, sessionName: ab}]}}}",
        ],
        refuses: &[
            ("{awsSsm: {region: a, auth: {}}}", "spec.awsSsm.auth", ONE_AWS),
            (
                "{awsSsm: {region: a, auth: {assumeRole: [{roleArn: 'arn:aws:iam::123456789012:role/a'}]}}}",
                "spec.awsSsm.auth",
                ONE_AWS,
            ),
            (
                "{awsSsm: {region: a, auth: {secret: {name: a}, serviceAccount: {name: b}}}}",
                "spec.awsSsm.auth",
                ONE_AWS,
            ),
            (
                "{awsSsm: {region: a, auth: {serviceAccount: {name: a, audience: ''}}}}",
                "spec.awsSsm.auth.serviceAccount.audience",
                "\"\": spec.awsSsm.auth.serviceAccount.audience in body should be at least 1 chars long",
            ),
        ],
    },
    Rule {
        says: "credentials of the other providers are of one kind",
        kind: Store,
        accepts: &[
            "{vault: {address: 'https://v', mount: m, auth: {token: {secret: a, key: b}}}}",
            "{vault: {address: 'https://v', mount: m, auth: {kubernetes: {role: r, serviceAccount: {name: a}}}}}",
            "{vault: {address: 'https://v', mount: m, auth: {approle: {roleId: r, secretId: {secret: a, key: b}}}}}",
            "{vault: {address: 'https://v', mount: m, auth: {jwt: {role: r, serviceAccount: {name: a}}}}}",
            "{azureKeyVault: {vaultUrl: 'https://v', auth: {managedIdentity: {}}}}",
            "{azureKeyVault: {vaultUrl: 'https://v', auth: {workloadIdentity: {tenantId: t, clientId: c, serviceAccount: {name: a}}}}}",
            "{azureKeyVault: {vaultUrl: 'https://v', auth: {clientSecret: {tenantId: t, clientId: c, clientSecret: {secret: a, key: b}}}}}",
            "{gcpSecretManager: {projectId: p, auth: {serviceAccountKey: {secret: a, key: b}}}}",
            "{gcpSecretManager: {projectId: p, auth: {workloadIdentity: {provider: p, serviceAccount: {name: a}}}}}",
        ],
        refuses: &[
            (
                "{vault: {address: 'https://v', mount: m, auth: {}}}",
                "spec.vault.auth",
                "0: spec.vault.auth in body should have at least 1 properties",
            ),
            (
                "{vault: {address: 'https://v', mount: m, auth: {token: {secret: a, key: b}, kubernetes: {role: r, serviceAccount: {name: a}}}}}",
                "spec.vault.auth",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{azureKeyVault: {vaultUrl: 'https://v', auth: {}}}",
                "spec.azureKeyVault.auth",
                "0: spec.azureKeyVault.auth in body should have at least 1 properties",
            ),
            (
                "{gcpSecretManager: {projectId: p, auth: {}}}",
                "spec.gcpSecretManager.auth",
                "0: spec.gcpSecretManager.auth in body should have at least 1 properties",
            ),
        ],
    },
    Rule {
        says: "a SOPS source and a certificate authority are of one kind",
        kind: Store,
        accepts: &[
            "{sops: {source: {secrets: [a, b]}, file: '{{ atmos_stack }}.yaml', age: {keys: [{secret: a, key: b}]}, allowedRecipients: [age1x]}}",
            "{vault: {address: 'https://v', mount: m, ca: {configMap: a}}}",
            "{vault: {address: 'https://v', mount: m, ca: {secret: a, key: b}}}",
        ],
        refuses: &[
            ("{sops: {}}", "spec.sops.source", "Required value"),
            (
                "{sops: {source: {}}}",
                "spec.sops.source",
                "0: spec.sops.source in body should have at least 1 properties",
            ),
            (
                "{sops: {source: {configMaps: [a], secrets: [b]}}}",
                "spec.sops.source",
                "Too many: 2: must have at most 1 item",
            ),
            (
                "{sops: {source: {configMaps: []}}}",
                "spec.sops.source.configMaps",
                "0: spec.sops.source.configMaps in body should have at least 1 items",
            ),
            (
                "{sops: {source: {configMaps: [a]}, age: {keys: []}}}",
                "spec.sops.age.keys",
                "0: spec.sops.age.keys in body should have at least 1 items",
            ),
            (
                "{vault: {address: 'https://v', mount: m, ca: {key: a}}}",
                "spec.vault.ca",
                "set exactly one of configMap, secret",
            ),
            (
                "{vault: {address: 'https://v', mount: m, ca: {configMap: a, secret: b}}}",
                "spec.vault.ca",
                "set exactly one of configMap, secret",
            ),
        ],
    },
    Rule {
        says: "times and rates of a store have bounds",
        kind: Store,
        accepts: &[
            "{kubernetes: {}, timeout: 1s, minRefreshInterval: 10s, rateLimit: {perSecond: 1}}",
            "{kubernetes: {}, timeout: 5m, minRefreshInterval: 720h, rateLimit: {perSecond: 10000}}",
        ],
        refuses: &[
            ("{kubernetes: {}, timeout: 0s}", "spec.timeout", "\"0s\": timeout must be between 1s and 5m"),
            ("{kubernetes: {}, timeout: 5m1s}", "spec.timeout", "\"5m1s\": timeout must be between 1s and 5m"),
            (
                "{kubernetes: {}, timeout: 100ms}",
                "spec.timeout",
                "\"100ms\": spec.timeout in body should match '^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$'",
            ),
            (
                "{kubernetes: {}, minRefreshInterval: 9s}",
                "spec.minRefreshInterval",
                "\"9s\": minRefreshInterval must be between 10s and 720h",
            ),
            (
                "{kubernetes: {}, minRefreshInterval: 721h}",
                "spec.minRefreshInterval",
                "\"721h\": minRefreshInterval must be between 10s and 720h",
            ),
            (
                "{kubernetes: {}, rateLimit: {perSecond: 0}}",
                "spec.rateLimit.perSecond",
                "0: spec.rateLimit.perSecond in body should be greater than or equal to 1",
            ),
            (
                "{kubernetes: {}, rateLimit: {perSecond: 10001}}",
                "spec.rateLimit.perSecond",
                "10001: spec.rateLimit.perSecond in body should be less than or equal to 10000",
            ),
            ("{kubernetes: {}, rateLimit: {}}", "spec.rateLimit.perSecond", "Required value"),
        ],
    },
    Rule {
        says: "fields of providers are checked",
        kind: Store,
        accepts: &[
            "{prefix: atmos/secrets, stackDelimiter: '-', encoding: atmos, awsSecretsManager: {region: us-east-1, endpoint: 'https://e', kmsKeyId: k, tags: {a: b}, replicaRegions: [eu-west-1]}}",
            "{encoding: raw, awsSsm: {region: us-east-1, tier: Intelligent-Tiering, tags: {a: b}, allowPlaintextSource: true}}",
            "{vault: {address: 'https://v', namespace: team, mount: m, kvVersion: 1}}",
            "{gcpSecretManager: {projectId: p, locations: [europe-west1], endpoint: 'https://e'}}",
        ],
        refuses: &[
            (
                "{kubernetes: {}, encoding: base64}",
                "spec.encoding",
                "Unsupported value: \"base64\": supported values: \"atmos\", \"raw\"",
            ),
            ("{awsSsm: {}}", "spec.awsSsm.region", "Required value"),
            (
                "{awsSsm: {region: US}}",
                "spec.awsSsm.region",
                "\"US\": spec.awsSsm.region in body should match '^[a-z0-9-]+$'",
            ),
            (
                "{awsSsm: {region: a, tier: standard}}",
                "spec.awsSsm.tier",
                "Unsupported value: \"standard\": supported values: \"Standard\", \"Advanced\", \"Intelligent-Tiering\"",
            ),
            (
                "{awsSsm: {region: a, endpoint: localhost}}",
                "spec.awsSsm.endpoint",
                "\"localhost\": spec.awsSsm.endpoint in body should match '^https?://'",
            ),
            ("{vault: {mount: m}}", "spec.vault.address", "Required value"),
            ("{vault: {address: 'https://v'}}", "spec.vault.mount", "Required value"),
            (
                "{vault: {address: 'ftp://v', mount: m}}",
                "spec.vault.address",
                "\"ftp://v\": spec.vault.address in body should match '^https?://'",
            ),
            (
                "{vault: {address: 'https://v', mount: m, kvVersion: 3}}",
                "spec.vault.kvVersion",
                "3: spec.vault.kvVersion in body should be less than or equal to 2",
            ),
            ("{azureKeyVault: {}}", "spec.azureKeyVault.vaultUrl", "Required value"),
            ("{gcpSecretManager: {}}", "spec.gcpSecretManager.projectId", "Required value"),
        ],
    },
    Rule {
        says: "times and encodings of a ClusterStore have the same bounds",
        kind: ClusterStore,
        accepts: &["{allowedNamespaces: {}, shared: true, timeout: 30s, awsSsm: {region: a}}"],
        refuses: &[
            (
                "{allowedNamespaces: {}, shared: true, timeout: 5m1s, awsSsm: {region: a}}",
                "spec.timeout",
                "\"5m1s\": timeout must be between 1s and 5m",
            ),
            (
                "{allowedNamespaces: {}, shared: true, minRefreshInterval: 1s, awsSsm: {region: a}}",
                "spec.minRefreshInterval",
                "\"1s\": minRefreshInterval must be between 10s and 720h",
            ),
            ("{allowedNamespaces: {}, shared: true, awsSsm: {region: a, auth: {}}}", "spec.awsSsm.auth", ONE_AWS),
        ],
    },
];

const ONE_OF_SEVEN: &str =
    "set exactly one of awsSecretsManager, awsSsm, vault, azureKeyVault, gcpSecretManager, sops, kubernetes";
const ONE_OF_SIX: &str = "set exactly one of awsSecretsManager, awsSsm, vault, azureKeyVault, gcpSecretManager, sops";
const ONE_AWS: &str = "set exactly one of secret, serviceAccount, ambient";
const APART: &str = "prefix must contain {namespace} as one whole segment, or set shared: true to let all allowed namespaces see the same values";
const WHOLE: &str = "{namespace} must be one whole segment of prefix, between '/'";
const NO_SEGMENTS: &str = "{namespace} is refused for azureKeyVault and gcpSecretManager: their keys cannot keep segments apart; set shared: true, or use one Store per namespace";
const AMBIENT: &str = "auth.ambient exists only in a ClusterStore: a Store names its own credentials";
