//! Logins by every method, counted in Vault's own audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atmos_secrets::api::store::{self, Encoding, SecretKey, ServiceAccountToken, VaultAppRole, VaultAuth, VaultRole};
use atmos_secrets::backend::credentials::{Credentials, StoreRights, Surroundings};
use atmos_secrets::backend::vault::connect;
use atmos_secrets::backend::{Backend, Error, ErrorKind, Key};
use e2e::{Fault, FaultProxy, Matching};
use serde_json::{Value, json};

use super::{Mount, around, read, watch};
use crate::kubernetes::{Cluster, base64};
use crate::log;
use crate::suite::only;

/// A mount of the engine, a mount of a login method, and a cluster with the credentials.
struct Scene {
    mount: Mount,
    method: String,
    cluster: Cluster,
}

impl Scene {
    async fn new(kind: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mount = Mount::new(2).await;
        let method = format!("{kind}-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let plugin = if kind == "kubernetes" { "vault-plugin-auth-kubernetes" } else { kind };
        mount.vault.must("POST", &format!("sys/auth/{method}"), json!({"type": plugin})).await.unwrap();
        for name in ["A", "B", "C"] {
            mount.put(&format!("prod/{name}"), json!({"value": name})).await;
        }
        Self { mount, method, cluster: Cluster::new(&format!("vault-{kind}")).await }
    }

    /// An AppRole whose tokens have these further properties; returns the login and stores the secret id.
    async fn app_role(&self, mut more: Value) -> VaultAuth {
        let Self { mount, method, cluster } = self;
        more["token_policies"] = json!([mount.policy]);
        mount.vault.must("POST", &format!("auth/{method}/role/app"), more).await.unwrap();
        let role = mount.vault.must("GET", &format!("auth/{method}/role/app/role-id"), Value::Null).await.unwrap();
        let made = mount.vault.must("POST", &format!("auth/{method}/role/app/secret-id"), json!({})).await.unwrap();
        let secret_id = format!("{}\n", made["data"]["secret_id"].as_str().unwrap());
        cluster.patch_secret("vault", &json!({"data": {"secretId": base64(secret_id.as_bytes())}})).await;
        let approle = VaultAppRole {
            mount: Some(method.clone()),
            role_id: role["data"]["role_id"].as_str().unwrap().into(),
            secret_id: SecretKey { secret: "vault".into(), key: "secretId".into() },
        };
        VaultAuth { approle: Some(approle), ..VaultAuth::default() }
    }

    fn role(&self, account: &str) -> VaultRole {
        let service_account = ServiceAccountToken { name: account.into(), audience: None };
        VaultRole { mount: Some(self.method.clone()), role: "app".into(), service_account }
    }

    async fn connect(&self, auth: VaultAuth) -> Result<Arc<dyn Backend>, Error> {
        self.connect_to(self.mount.spec(), auth).await
    }

    async fn connect_to(&self, spec: store::Vault, auth: VaultAuth) -> Result<Arc<dyn Backend>, Error> {
        let credentials = Credentials::OfStore(StoreRights::default());
        let around = around(self.cluster.objects.clone(), &self.cluster.namespace, credentials, Encoding::Atmos);
        Ok(Arc::new(connect(&store::Vault { auth: Some(auth), ..spec }, &around).await?))
    }

    async fn backend(&self, auth: VaultAuth) -> Arc<dyn Backend> {
        self.connect(auth).await.map_err(|error| error.message).unwrap()
    }

    /// As [`Scene::backend`], behind a proxy that counts the renewals of sessions as delayed.
    async fn proxied(&self, auth: VaultAuth) -> (Arc<dyn Backend>, FaultProxy) {
        let proxy = FaultProxy::to_http(&self.mount.spec().address).await.unwrap();
        proxy.inject(Fault::Delay(Duration::ZERO), Matching::any().path("renew-self"));
        let spec = store::Vault { address: proxy.url(), ..self.mount.spec() };
        (self.connect_to(spec, auth).await.map_err(|error| error.message).unwrap(), proxy)
    }

    /// Logins by this scene's method: those that succeeded, those that did not.
    fn logins(&self) -> (usize, usize) {
        let path = format!("auth/{}/login", self.method);
        let requests = self.mount.vault.requests().unwrap();
        let count = |failed| requests.iter().filter(|asked| asked.path == path && asked.failed == failed).count();
        (count(false), count(true))
    }

    async fn revoke_all(&self) {
        let path = format!("sys/leases/revoke-prefix/auth/{}/login", self.method);
        self.mount.vault.must("PUT", &path, json!({})).await.unwrap();
    }
}

/// Past the renewal of a session that lives for an hour, and before its end.
const NEARLY_AN_HOUR: Duration = Duration::from_secs(3000);

/// Moves the clock by which the driver plans, and not Vault's: however slow the machine is, no session ends meanwhile.
async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn keys() -> Vec<Key> {
    ["prod/A", "prod/B", "prod/C"].map(Key::current).to_vec()
}

async fn read_all(backend: &Arc<dyn Backend>) {
    for (found, name) in backend.read(&keys()).await.into_iter().zip(["A", "B", "C"]) {
        assert!(found.map_err(|error| error.message).unwrap().value.equals(name.as_bytes()));
    }
}

#[tokio::test]
async fn one_login_serves_every_read_and_one_more_a_revocation() {
    watch();
    let scene = Scene::new("approle").await;
    let backend = scene.backend(scene.app_role(json!({"token_ttl": "1h"})).await).await;
    assert_eq!(scene.logins(), (0, 0), "connecting asks nothing of Vault");
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    backend.check().await.unwrap();
    assert_eq!(scene.logins(), (1, 0));

    scene.revoke_all().await;
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    assert_eq!(scene.logins(), (2, 0), "exactly one login after the revocation");

    // What is not allowed is no reason to log in again, however often it is asked.
    for _ in 0..3 {
        for path in ["other", "prod/../x"] {
            let denied = only(backend.probe(&[Key::current(path)]).await);
            assert!(denied.is_err());
        }
    }
    let elsewhere = store::Vault { mount: "secret".into(), ..scene.mount.spec() };
    let auth = scene.app_role(json!({"token_ttl": "1h"})).await;
    let credentials = Credentials::OfStore(StoreRights::default());
    let around = around(scene.cluster.objects.clone(), &scene.cluster.namespace, credentials, Encoding::Atmos);
    let denied = connect(&store::Vault { auth: Some(auth), ..elsewhere }, &around).await.map_err(|error| error.message);
    let denied = denied.unwrap();
    for _ in 0..3 {
        let many: Vec<Key> = (0..40).map(|index| Key::current(format!("K{index}"))).collect();
        let answers = denied.read(&many).await;
        assert!(answers.iter().all(|answer| answer.as_ref().err().unwrap().kind == ErrorKind::PermissionDenied));
    }
    assert_eq!(scene.logins(), (3, 0), "one for the second store, none for its refusals");
    log::assert_clean();
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_repeated_for_every_key() {
    let scene = Scene::new("approle").await;
    let auth = scene.app_role(json!({})).await;
    scene.cluster.patch_secret("vault", &json!({"data": {"secretId": base64(b"wrong")}})).await;
    let backend = scene.backend(auth.clone()).await;
    let many: Vec<Key> = (0..60).map(|index| Key::current(format!("prod/K{index}"))).collect();
    let calls = futures::future::join_all((0..5).map(|_| backend.read(&many))).await;
    for error in calls.iter().flatten().map(|answer| answer.as_ref().err().unwrap()) {
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        let expected = format!("cannot log in to Vault at auth/{}: ", scene.method);
        assert!(error.message.starts_with(&expected), "{}", error.message);
    }
    assert_eq!(scene.logins(), (0, 1), "one try for 300 reads");

    // A new Secret makes a new connection, which works at once.
    let auth = scene.app_role(json!({})).await;
    read_all(&scene.backend(auth.clone()).await).await;
    let VaultAuth { approle: Some(approle), .. } = auth else { panic!("an AppRole") };
    let no_method = VaultAppRole { mount: Some("none-such".into()), ..approle.clone() };
    let backend = scene.backend(VaultAuth { approle: Some(no_method), ..VaultAuth::default() }).await;
    let error = read(&backend, "prod/A").await.err().unwrap();
    // To somebody without a token Vault does not tell which paths there are.
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{}", error.message);
    assert!(error.message.contains("auth/none-such") && error.message.contains("check the mount"), "{}", error.message);
}

#[tokio::test]
async fn a_session_is_renewed_in_time_and_replaced_at_the_end_of_its_longest_life() {
    let scene = Scene::new("approle").await;
    let (backend, proxy) = scene.proxied(scene.app_role(json!({"token_ttl": "1h"})).await).await;
    let renewals = || proxy.counts().delayed;
    read_all(&backend).await;
    for count in [1, 2] {
        let_pass(NEARLY_AN_HOUR).await;
        read_all(&backend).await;
        read_all(&backend).await;
        assert_eq!((renewals(), scene.logins()), (count, (1, 0)), "renewed, not made anew");
    }

    // From now on a renewal gives no more than what is left of ten minutes.
    scene.app_role(json!({"token_ttl": "10m", "token_max_ttl": "10m"})).await;
    let_pass(NEARLY_AN_HOUR).await;
    read_all(&backend).await;
    read_all(&backend).await;
    assert_eq!((renewals(), scene.logins()), (3, (2, 0)));
}

#[tokio::test]
async fn a_renewal_that_hangs_leaves_the_session_to_its_end() {
    let scene = Scene::new("approle").await;
    let auth = scene.app_role(json!({"token_ttl": "1h"})).await;
    let proxy = FaultProxy::to_http(&scene.mount.spec().address).await.unwrap();
    let spec = store::Vault { auth: Some(auth), address: proxy.url(), ..scene.mount.spec() };
    let credentials = Credentials::OfStore(StoreRights::default());
    let around = around(scene.cluster.objects.clone(), &scene.cluster.namespace, credentials, Encoding::Atmos);
    let around = Surroundings { timeout: Duration::from_secs(2), ..around };
    let backend: Arc<dyn Backend> = Arc::new(connect(&spec, &around).await.map_err(|error| error.message).unwrap());
    read_all(&backend).await;
    let hanging = proxy.inject(Fault::Stall, Matching::any().path("renew-self"));
    let_pass(NEARLY_AN_HOUR).await;
    let read = tokio::time::timeout(Duration::from_secs(120), read_all(&backend)).await;
    assert!(read.is_ok(), "the session at hand is good");
    assert_eq!((hanging.hits(), scene.logins()), (1, (1, 0)));
}

#[tokio::test]
async fn tokens_that_cannot_be_renewed_are_replaced_in_time() {
    let scene = Scene::new("approle").await;
    let login = scene.app_role(json!({"token_ttl": "1h", "token_type": "batch"})).await;
    let (backend, proxy) = scene.proxied(login).await;
    read_all(&backend).await;
    assert_eq!(scene.logins(), (1, 0));
    let_pass(NEARLY_AN_HOUR).await;
    read_all(&backend).await;
    read_all(&backend).await;
    assert_eq!((proxy.counts().delayed, scene.logins()), (0, (2, 0)));
}

#[tokio::test]
async fn a_token_in_a_secret_is_kept_alive_until_it_is_revoked() {
    watch();
    let scene = Scene::new("approle").await;
    let policy = [scene.mount.policy.as_str(), "default"];
    let token = scene.mount.vault.token(&policy, json!({"period": "1h"})).await.unwrap();
    // As `echo` and many editors leave it.
    scene.cluster.patch_secret("vault", &json!({"data": {"token": base64(format!("{token}\n").as_bytes())}})).await;
    let reference = SecretKey { secret: "vault".into(), key: "token".into() };
    let auth = VaultAuth { token: Some(reference), ..VaultAuth::default() };
    let (backend, proxy) = scene.proxied(auth.clone()).await;
    let last_renewal = async || {
        let asked = json!({"token": token});
        scene.mount.vault.must("POST", "auth/token/lookup", asked).await.unwrap()["data"]["last_renewal_time"].as_i64()
    };
    read_all(&backend).await;
    assert_eq!((proxy.counts().delayed, last_renewal().await), (0, None));
    for period in [1, 2, 3] {
        let_pass(NEARLY_AN_HOUR).await;
        read_all(&backend).await;
        read_all(&backend).await;
        assert_eq!(proxy.counts().delayed, period);
        assert!(last_renewal().await.is_some(), "Vault knows of it");
    }
    scene.mount.vault.must("POST", "auth/token/revoke", json!({"token": token})).await.unwrap();
    for answer in backend.read(&keys()).await {
        let error = answer.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert!(error.message.contains("the token of Secret vault, key token"), "{}", error.message);
        assert!(!error.message.contains(&token));
    }
    for nonsense in ["", " \n", "two words", "grüße"] {
        scene.cluster.patch_secret("vault", &json!({"data": {"token": base64(nonsense.as_bytes())}})).await;
        let error = scene.connect(auth.clone()).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::InvalidConfig, "{nonsense:?}");
    }
    log::assert_clean();
}

/// Without the policy `default` a token may not ask about itself, so that a refusal says nothing of the token.
#[tokio::test]
async fn a_denied_key_fails_alone_for_a_token_without_the_policy_default() {
    let scene = Scene::new("approle").await;
    let Scene { mount, cluster, .. } = &scene;
    let policy = format!("{}-prod", mount.policy);
    let rules = format!(r#"path "{}/data/prod/*" {{ capabilities = ["read"] }}"#, mount.name);
    mount.vault.must("PUT", &format!("sys/policies/acl/{policy}"), json!({"policy": rules})).await.unwrap();
    let token = mount.vault.token(&[&policy], json!({"no_default_policy": true})).await.unwrap();
    cluster.patch_secret("vault", &json!({"data": {"token": base64(token.as_bytes())}})).await;
    let reference = SecretKey { secret: "vault".into(), key: "token".into() };
    let backend = scene.backend(VaultAuth { token: Some(reference), ..VaultAuth::default() }).await;
    // More than are asked for at the same time.
    let denied: Vec<Key> = (0..40).map(|number| Key::current(format!("other/K{number}"))).collect();
    for _ in 0..3 {
        let mut results = backend.read(&[denied.clone(), keys()].concat()).await;
        assert!(results.split_off(denied.len()).iter().all(Result::is_ok));
        for result in results {
            assert_eq!(result.err().unwrap().kind, ErrorKind::PermissionDenied);
        }
    }
    mount.vault.must("POST", "auth/token/revoke", json!({"token": token})).await.unwrap();
    assert_eq!(read(&backend, "prod/A").await.err().unwrap().kind, ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn the_kubernetes_method_asks_the_real_api_server() {
    watch();
    let scene = Scene::new("kubernetes").await;
    let Scene { mount, method, cluster } = &scene;
    let control_plane = cluster.control_plane;
    let namespace = &cluster.namespace;
    // Vault's own account may review tokens; the Store's account may nothing at all.
    let reviewer = control_plane.service_account_kubeconfig(namespace, "reviewer").await.unwrap();
    let reviewer: Value = serde_json::from_str(&std::fs::read_to_string(reviewer).unwrap()).unwrap();
    control_plane.service_account_kubeconfig(namespace, "app").await.unwrap();
    control_plane.service_account_kubeconfig(namespace, "stranger").await.unwrap();
    let grant = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("reviewer-{namespace}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": namespace}]});
    control_plane.apply_yaml(&grant.to_string()).await.unwrap();
    let config = json!({"kubernetes_host": control_plane.url(), "kubernetes_ca_cert": control_plane.ca_pem(),
        "token_reviewer_jwt": reviewer["users"][0]["user"]["token"], "disable_local_ca_jwt": true});
    mount.vault.must("POST", &format!("auth/{method}/config"), config).await.unwrap();
    let role = json!({"bound_service_account_names": ["app"], "bound_service_account_namespaces": [namespace],
        "audience": "vault", "token_policies": [mount.policy], "token_ttl": "1h"});
    mount.vault.must("POST", &format!("auth/{method}/role/app"), role).await.unwrap();
    let auth = |account: &str| VaultAuth { kubernetes: Some(scene.role(account)), ..VaultAuth::default() };

    let backend = scene.backend(auth("app")).await;
    // The grant takes a moment to reach the authorizer.
    e2e::wait_until("Vault may review tokens", Duration::from_secs(120), async || {
        backend.check().await.map_err(|error| error.message)
    })
    .await
    .unwrap();
    let good = scene.logins().0;
    let mark = control_plane.audit_mark().unwrap();
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    assert_eq!(scene.logins().0, good);
    scene.revoke_all().await;
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    assert_eq!(scene.logins().0, good + 1);
    let events = control_plane.audit_events_since(mark).unwrap();
    let user = format!("system:serviceaccount:{namespace}:reviewer");
    let reviews = events.iter().filter(|event| event.user == user && event.resource == "tokenreviews").count();
    assert_eq!(reviews, 1, "the API server was asked about the one token");

    let stranger = scene.backend(auth("stranger")).await;
    assert_eq!(read(&stranger, "prod/A").await.err().unwrap().kind, ErrorKind::Unauthenticated);
    let nobody = scene.backend(auth("nobody")).await;
    let error = read(&nobody, "prod/A").await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::SourceNotFound, "{}", error.message);
    let service_account = ServiceAccountToken { name: "app".into(), audience: Some("other".into()) };
    let other = VaultRole { service_account, ..scene.role("app") };
    let other = scene.backend(VaultAuth { kubernetes: Some(other), ..VaultAuth::default() }).await;
    assert_eq!(read(&other, "prod/A").await.err().unwrap().kind, ErrorKind::Unauthenticated, "a wrong audience");
    let no_role = VaultRole { role: "none-such".into(), ..scene.role("app") };
    let no_role = scene.backend(VaultAuth { kubernetes: Some(no_role), ..VaultAuth::default() }).await;
    assert_eq!(read(&no_role, "prod/A").await.err().unwrap().kind, ErrorKind::Unauthenticated, "no such role");
    log::assert_clean();
}

#[tokio::test]
async fn the_jwt_method_checks_the_signature_of_the_api_server() {
    watch();
    let scene = Scene::new("jwt").await;
    let Scene { mount, method, cluster } = &scene;
    let key = std::fs::read_to_string(cluster.control_plane.folder().join("tokens.pub")).unwrap();
    let config = json!({"jwt_validation_pubkeys": [key], "jwt_supported_algs": ["ES256"]});
    mount.vault.must("POST", &format!("auth/{method}/config"), config).await.unwrap();
    let subject = format!("system:serviceaccount:{}:app", cluster.namespace);
    let role = json!({"role_type": "jwt", "user_claim": "sub", "bound_subject": subject,
        "bound_audiences": ["vault"], "token_policies": [mount.policy], "token_ttl": "1h"});
    mount.vault.must("POST", &format!("auth/{method}/role/app"), role).await.unwrap();
    for account in ["app", "stranger"] {
        cluster.control_plane.service_account_kubeconfig(&cluster.namespace, account).await.unwrap();
    }
    let auth = |account: &str| VaultAuth { jwt: Some(scene.role(account)), ..VaultAuth::default() };
    let backend = scene.backend(auth("app")).await;
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    assert_eq!(scene.logins(), (1, 0));
    scene.revoke_all().await;
    futures::future::join_all((0..10).map(|_| read_all(&backend))).await;
    assert_eq!(scene.logins(), (2, 0));
    let stranger = scene.backend(auth("stranger")).await;
    assert_eq!(read(&stranger, "prod/A").await.err().unwrap().kind, ErrorKind::Unauthenticated);
    log::assert_clean();
}
