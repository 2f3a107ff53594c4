//! Golden vectors of Atmos, the limits of the services, and containment.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn layout(kind: StoreKind, prefix: &str, delimiter: &str) -> KeyLayout {
    KeyLayout { prefix: prefix.to_owned(), stack_delimiter: delimiter.to_owned(), ..KeyLayout::new(kind) }
}

/// A coordinate with the narrowest scope that has all of the parts.
fn coordinate(stack: &str, component: &str, name: &str) -> Coordinate {
    let scope = match (stack, component) {
        ("", _) => Scope::Global,
        (_, "") => Scope::Stack,
        (_, _) => Scope::Instance,
    };
    Coordinate::new(scope, stack, component, name)
}

const ASM: StoreKind = StoreKind::AwsSecretsManager;
const SSM: StoreKind = StoreKind::AwsSsm;
const VAULT: StoreKind = StoreKind::Vault;
const AZURE: StoreKind = StoreKind::AzureKeyVault;
const GCP: StoreKind = StoreKind::GcpSecretManager;

#[test]
fn composes_as_atmos_does() {
    let ids = "/atmos-tests/secrets/ID";
    let vectors = [
        (
            SSM,
            "/test-prefix",
            "/",
            "dev/usw2/app",
            "service",
            "config-key",
            "/test-prefix/dev/usw2/app/service/config-key",
        ),
        (SSM, "/test-prefix", "/", "dev/usw2/app", "", "config-key", "/test-prefix/dev/usw2/app/config-key"),
        (SSM, "/test-prefix", "/", "", "", "config-key", "/test-prefix/config-key"),
        (SSM, "", "-", "dev/usw2/app", "service", "config-key", "/dev/usw2/app/service/config-key"),
        (
            SSM,
            "/test-prefix",
            "/",
            "dev/usw2/prod/app",
            "service",
            "config-key",
            "/test-prefix/dev/usw2/prod/app/service/config-key",
        ),
        (
            SSM,
            ids,
            "-",
            "dev",
            "secret-consumer",
            "SSM_INSTANCE_TOKEN",
            "/atmos-tests/secrets/ID/dev/secret-consumer/SSM_INSTANCE_TOKEN",
        ),
        (SSM, ids, "-", "dev", "", "SSM_STACK_TOKEN", "/atmos-tests/secrets/ID/dev/SSM_STACK_TOKEN"),
        (SSM, ids, "-", "", "", "GLOBAL_SHARED_TOKEN", "/atmos-tests/secrets/ID/GLOBAL_SHARED_TOKEN"),
        (
            SSM,
            "/atmos/secrets",
            "-",
            "plat-ue1-prod",
            "network/vpc",
            "DB_PASSWORD",
            "/atmos/secrets/plat/ue1/prod/network/vpc/DB_PASSWORD",
        ),
        (SSM, "/atmos/secrets/", "-", "prod", "api", "K", "/atmos/secrets/prod/api/K"),
        (SSM, "/", "-", "prod", "api", "K", "/prod/api/K"),
        (SSM, "//x//", "-", "prod", "api", "K", "/x//prod/api/K"),
        (SSM, "///x", "-", "prod", "api", "K", "//x/prod/api/K"),
        (SSM, "atmos", "-", "prod", "api", "K", "atmos/prod/api/K"),
        (SSM, "", "-", "", "", "K", "/K"),
        (SSM, "/a", "-", "prod", "api", "db/password", "/a/prod/api/db/password"),
        (SSM, "/a", "-", "prod-", "api", "K", "/a/prod/api/K"),
        (SSM, "/a", "-", "-prod", "api", "K", "/a/prod/api/K"),
        (SSM, "/a", "", "dev", "api", "K", "/a/d/e/v/api/K"),
        (SSM, "/a", "-", "prod", "api/", "K", "/a/prod/api/K"),
        (SSM, "/a", "--", "prod--ue1", "api", "K", "/a/prod/ue1/api/K"),
        (
            ASM,
            "atmos-tests/secrets/ID",
            "-",
            "dev",
            "secret-consumer",
            "ASM_DATABASE_CONFIG",
            "atmos-tests/secrets/ID/dev/secret-consumer/ASM_DATABASE_CONFIG",
        ),
        (
            ASM,
            "atmos/secrets",
            "-",
            "plat-prod-ue1",
            "vpc/flow-logs",
            "API_KEY",
            "atmos/secrets/plat/prod/ue1/vpc/flow-logs/API_KEY",
        ),
        (ASM, "atmos/secrets", "-", "plat-prod-ue1", "", "STACK_KEY", "atmos/secrets/plat/prod/ue1/STACK_KEY"),
        (ASM, "atmos/secrets", "-", "", "", "GLOBAL_KEY", "atmos/secrets/GLOBAL_KEY"),
        (ASM, "atmos/secrets", "-", "", "", "external/token", "atmos/secrets/external/token"),
        (VAULT, "atmos", "-", "plat-prod", "api", "API_KEY", "atmos/plat/prod/api/API_KEY"),
        (VAULT, "atmos", "-", "plat-prod-ue1", "vpc/flow-logs", "API_KEY", "atmos/plat/prod/ue1/vpc/flow-logs/API_KEY"),
        (VAULT, "", "/", "prod", "api", "API_KEY", "/prod/api/API_KEY"),
        (AZURE, "", "-", "dev", "secret-consumer", "AZURE_INSTANCE_TOKEN", "dev-secret-consumer-AZURE-INSTANCE-TOKEN"),
        (
            AZURE,
            "my/app",
            "-",
            "plat_ue1-dev",
            "net/vpc.core",
            "DB__PASSWORD",
            "my-app-plat-ue1-dev-net-vpc-core-DB-PASSWORD",
        ),
        (AZURE, "atmos", "-", "prod-ue1", "vpc", "image_tag", "atmos-prod-ue1-vpc-image-tag"),
        (GCP, "test-prefix", "-", "dev-usw2", "app", "config", "test-prefix_dev_usw2_app_config"),
        (
            GCP,
            "test-prefix",
            "-",
            "dev-usw2",
            "app/service",
            "config/key",
            "test-prefix_dev_usw2_app_service_config_key",
        ),
        (
            GCP,
            "test/prefix",
            "-",
            "dev-usw2-prod",
            "app/service/db",
            "config-key-name",
            "test_prefix_dev_usw2_prod_app_service_db_config-key-name",
        ),
        (
            GCP,
            "test-prefix",
            "_",
            "dev_usw2_prod",
            "app/service",
            "config-key",
            "test-prefix_dev_usw2_prod_app_service_config-key",
        ),
        (GCP, "test-prefix", "-", "dev-usw2", "", "config-key", "test-prefix_dev_usw2_config-key"),
        (GCP, "test-prefix", "-", "", "", "config-key", "test-prefix_config-key"),
        (GCP, "", "-", "dev", "api", "_TOKEN_", "dev_api_TOKEN"),
        (GCP, "p", "-", "dev", "api", "A__B", "p_dev_api_A_B"),
        (GCP, "p", "-", "dev", "api", "A___B", "p_dev_api_A__B"),
        (GCP, "p", "-", "dev", "api", "A.B", "p_dev_api_A.B"),
        (ASM, "", "-", "prod", "api", "K", "/prod/api/K"),
        (VAULT, "atmos", "-", "plat-prod", "", "API_KEY", "atmos/plat/prod/API_KEY"),
        (VAULT, "atmos", "-", "", "", "API_KEY", "atmos/API_KEY"),
        (VAULT, "", "/", "", "", "K", "/K"),
        (AZURE, "atmos", "-", "prod-ue1", "", "image_tag", "atmos-prod-ue1-image-tag"),
        (AZURE, "atmos", "-", "", "", "image_tag", "atmos-image-tag"),
        (AZURE, "", "-", "", "", "K", "K"),
    ];
    for (kind, prefix, delimiter, stack, component, name, key) in vectors {
        let layout = layout(kind, prefix, delimiter);
        assert_eq!(layout.compose(&coordinate(stack, component, name)), key, "{kind} {prefix} {stack} {component}");
    }
    // The default delimiter of Vault keeps the stack in one segment.
    let vault = KeyLayout::new(VAULT);
    assert_eq!(vault.compose(&coordinate("plat-prod", "api", "K")), "/plat-prod/api/K");
}

#[test]
fn normalises_for_azure() {
    for (text, name) in [
        ("simple-name", "simple-name"),
        ("path/to/secret", "path-to-secret"),
        ("secret@#$%^&*()", "secret"),
        ("secret name with spaces", "secret-name-with-spaces"),
        ("secret--name---with----hyphens", "secret-name-with-hyphens"),
        ("-secret-name-", "secret-name"),
        ("", "default"),
        ("@#$%^&*()", "default"),
    ] {
        assert_eq!(azure_name(text), name, "{text}");
    }
}

#[test]
fn lays_out_files_and_secrets() {
    let sops = KeyLayout::new(StoreKind::Sops);
    let template = KeyLayout { file: Some(FileTemplate::parse("{{ .atmos_stack }}.yaml").unwrap()), ..sops.clone() };
    let prefixed = layout(StoreKind::Sops, "team/payments", "-");
    let kubernetes = KeyLayout::new(StoreKind::Kubernetes);
    for (layout, stack, component, key) in [
        (&sops, "dev", "net/vpc", "dev.net.vpc.enc.yaml#K"),
        (&sops, "a/b", "", "a.b.enc.yaml#K"),
        (&sops, "", "", "global.enc.yaml#K"),
        (&template, "dev", "api", "dev.yaml#K"),
        (&prefixed, "dev", "api", "team.payments.dev.api.enc.yaml#K"),
        (&kubernetes, "Plat_ue1/prod", "Net/vpc_1", "atmos.plat-ue1-prod.net-vpc-1#K"),
        (&kubernetes, "dev", "", "atmos.dev#K"),
        (&kubernetes, "", "", "atmos#K"),
    ] {
        assert_eq!(layout.key(&coordinate(stack, component, "K")).unwrap(), key);
    }
}

/// The table of Atmos's own layout, without its `path`.
#[test]
fn a_tree_of_files_is_laid_out_as_in_atmos() {
    let sops = KeyLayout::new(StoreKind::Sops);
    let template = KeyLayout {
        file: Some(FileTemplate::parse("{{ .atmos_stack }}.{{ .atmos_component }}.yaml").unwrap()),
        ..sops.clone()
    };
    let prefixed = layout(StoreKind::Sops, "team/payments", "-");
    for (layout, stack, component, file) in [
        (&sops, "dev", "", "dev.enc.yaml"),
        (&sops, "dev", "api", "dev.api.enc.yaml"),
        (&sops, "dev", "net/vpc", "dev.net/vpc.enc.yaml"),
        (&sops, "", "", "global.enc.yaml"),
        (&template, "dev", "net/vpc", "dev.net/vpc.yaml"),
        (&prefixed, "dev", "net/vpc", "team.payments.dev.net/vpc.enc.yaml"),
    ] {
        let coordinate = coordinate(stack, component, "K");
        assert_eq!(layout.tree_file(&coordinate), file);
        assert_eq!(
            layout.key(&coordinate).unwrap(),
            format!("{}#K", file.replace('/', ".")),
            "the same in the cluster"
        );
    }
}

#[test]
fn keeps_the_limits_of_the_services() {
    let long = "k".repeat(2000);
    let deep = "a/".repeat(14);
    for (kind, prefix, component, name, legal) in [
        (SSM, "/a", "api", "K", true),
        (SSM, "atmos", "api", "K", false),
        (SSM, "/aws", "api", "K", false),
        (SSM, "/Ssm-x", "api", "K", false),
        (SSM, "/a", deep.as_str(), "K", false),
        (SSM, "/a", "api", "K@", false),
        (SSM, "/a", "api", long.as_str(), false),
        (ASM, "a", "api", "K@=+", true),
        (ASM, "a", "api", "K K", false),
        (ASM, "a", "api", long.as_str(), false),
        (VAULT, "a", "api", "K é", true),
        (VAULT, "a", "..", "K", false),
        (VAULT, "a", "x/./y", "K", false),
        (VAULT, "a", "api", "K\n", false),
        (AZURE, "a", "api", "K?", true),
        (AZURE, "a", "api", long.as_str(), false),
        (GCP, "a", "api", "A_B", true),
        (GCP, "a", "api", "A.B", false),
        (GCP, "a", "api", long.as_str(), false),
        (StoreKind::Sops, "", "api", "K", true),
        (StoreKind::Sops, "", "a b", "K", false),
        (StoreKind::Sops, "", "api", "sops", false),
        (StoreKind::Sops, "", "api", "K_unencrypted", false),
        (StoreKind::Kubernetes, "atmos", "api", "K", true),
        (StoreKind::Kubernetes, "atmos", "api-", "K", false),
        (StoreKind::Kubernetes, "atmos", "api", "K/x", false),
        (StoreKind::Kubernetes, "atmos", long.as_str(), "K", false),
    ] {
        let result = layout(kind, prefix, "-").key(&coordinate("dev", component, name));
        assert_eq!(result.is_ok(), legal, "{kind} {prefix} {component} {name} {result:?}");
        if let Err(problem) = result {
            assert_eq!(problem.reason, Reason::InvalidKeyName);
        }
    }
    // A global value in a kubernetes store without a prefix would have no object.
    assert!(layout(StoreKind::Kubernetes, "", "-").key(&coordinate("", "", "K")).is_err());
}

#[test]
fn explicit_keys_stay_where_they_may() {
    let contained = |kind, prefix| KeyLayout { contained: true, ..layout(kind, prefix, "-") };
    for (layout, key, legal) in [
        (layout(ASM, "atmos", "-"), "legacy/orders/db", true),
        (layout(ASM, "atmos", "-"), "legacy orders", false),
        (layout(ASM, "atmos", "-"), "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders/db-a1b2c3", true),
        (layout(ASM, "atmos", "-"), "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:orders/db", true),
        (layout(ASM, "atmos", "-"), "arn:aws:ssm:us-east-1:123456789012:parameter/orders/db", false),
        (layout(ASM, "atmos", "-"), "arn:aws:secretsmanager:us-east-1::secret:orders/db", false),
        (layout(ASM, "atmos", "-"), "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders db", false),
        (layout(VAULT, "atmos", "-"), "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders/db", true),
        (
            contained(ASM, "atmos/payments"),
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:atmos/payments/x",
            false,
        ),
        (layout(VAULT, "atmos", "-"), "../sys/x", false),
        (contained(ASM, "atmos/payments"), "atmos/payments/legacy", true),
        (contained(ASM, "atmos/payments/"), "atmos/payments/legacy", true),
        (contained(ASM, "atmos/payments"), "atmos/payments", false),
        (contained(ASM, "atmos/payments"), "atmos/payments/", false),
        (contained(ASM, "atmos/payments"), "atmos/payments2/x", false),
        (contained(ASM, "atmos/payments"), "atmos/orders/x", false),
        (contained(VAULT, "atmos/payments"), "atmos/payments/../orders/x", false),
        (contained(VAULT, "atmos/payments"), "atmos/payments/%2e%2e/orders/x", false),
        (contained(VAULT, "atmos/payments"), "atmos/payments//x", false),
        (contained(StoreKind::Sops, "payments"), "payments.legacy.yaml#K", true),
        (contained(StoreKind::Sops, "payments"), "orders.legacy.yaml#K", false),
        (contained(StoreKind::Sops, "payments"), "payments#K", false),
        (KeyLayout::new(StoreKind::Sops), "legacy.yaml#K", true),
        (KeyLayout::new(StoreKind::Sops), "legacy.yaml", false),
        (KeyLayout::new(StoreKind::Sops), "#K", false),
        (KeyLayout::new(StoreKind::Kubernetes), "legacy#K", true),
        (KeyLayout::new(StoreKind::Kubernetes), "Legacy#K", false),
        (KeyLayout::new(StoreKind::Kubernetes), "legacy#", false),
    ] {
        assert_eq!(layout.explicit(key).is_ok(), legal, "{} {key}", layout.kind);
    }
    let vault = contained(VAULT, "atmos/payments");
    for (stack, component, name) in
        [("a/../../orders", "api", "K"), ("dev", "../../orders", "K"), ("dev", "api", "a//b")]
    {
        assert!(vault.key(&coordinate(stack, component, name)).is_err(), "{stack} {component} {name}");
    }
}

fn part() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["a", "b", "A", "-", "_", "/", "\\.", "%"], 0..5)
        .prop_map(|parts| parts.concat())
}

fn any_coordinate() -> impl Strategy<Value = Coordinate> {
    let scope = prop_oneof![Just(Scope::Instance), Just(Scope::Stack), Just(Scope::Global)];
    (scope, part(), part(), part()).prop_map(|(scope, stack, component, name)| {
        Coordinate::new(scope, &format!("s{stack}"), &format!("c{component}"), &format!("N{name}"))
    })
}

proptest! {
    /// Whatever the coordinate, a key below `{namespace}` never leaves its namespace.
    #[test]
    fn namespaces_stay_apart(one in any_coordinate(), explicit in part(), kind in 0..3usize) {
        let kind = [StoreKind::AwsSecretsManager, StoreKind::Vault, StoreKind::Sops].get(kind).copied().unwrap();
        let start = match kind { StoreKind::Sops => "x.payments.", _ => "x/payments/" };
        let layout = KeyLayout { contained: true, ..layout(kind, "x/payments", "-") };
        let explicit = layout.explicit(&format!("x/payments/{explicit}"));
        for key in [layout.key(&one), explicit].into_iter().flatten() {
            let Some(rest) = key.strip_prefix(start) else { panic!("{key}") };
            let escapes = rest.split('/').any(|segment| matches!(segment, "" | "." | "..") || segment.contains('%'));
            prop_assert!(kind == StoreKind::Sops || !escapes, "{key}");
        }
    }

    /// Whatever is joined by whatever delimiter: no two namespaces share a key, also where the name of one begins with the
    /// other's.
    #[test]
    fn namespaces_never_meet(
        one in any_coordinate(),
        other in any_coordinate(),
        explicit in part(),
        delimiter in prop_oneof!["-", "/", "_", "\\."],
        kind in 0..4usize,
    ) {
        let kinds = [StoreKind::AwsSecretsManager, StoreKind::AwsSsm, StoreKind::Vault, StoreKind::Sops];
        let kind = kinds.get(kind).copied().unwrap();
        let start = if kind == StoreKind::AwsSsm { "/" } else { "" };
        let keys = |namespace: &str, coordinate: &Coordinate| {
            let prefix = format!("{start}x/{namespace}");
            let layout = KeyLayout { contained: true, ..layout(kind, &prefix, &delimiter) };
            [layout.key(coordinate), layout.explicit(&format!("{prefix}/{explicit}")), layout.explicit(&explicit)]
        };
        for (first, second) in [("a", "a-b"), ("a", "b"), ("a-b", "a-b-c")] {
            let (ours, theirs) = (keys(first, &one), keys(second, &other));
            for key in ours.iter().flatten() {
                prop_assert!(!theirs.iter().flatten().any(|theirs| theirs == key), "{key}");
            }
        }
    }

    /// Keys are a function of the coordinate, and kinds that keep segments apart never mix two names of one place.
    #[test]
    fn names_of_one_place_differ(one in any_coordinate(), name in part()) {
        let other = Coordinate { name: format!("N{name}"), ..one.clone() };
        for kind in [StoreKind::Sops, StoreKind::Kubernetes] {
            let layout = KeyLayout::new(kind);
            prop_assert_eq!(layout.compose(&one) == layout.compose(&other), one == other);
        }
    }
}

#[test]
fn words_are_distinct() {
    let words: BTreeMap<&str, StoreKind> = StoreKind::ALL.into_iter().map(|kind| (kind.as_str(), kind)).collect();
    assert_eq!(words.len(), StoreKind::ALL.len());
}
