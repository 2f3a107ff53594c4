//! Each fault as a client of a real API server meets it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::fault_proxy::Counts;
use e2e::{ControlPlane, Fault, FaultProxy, Matching, Options, wait_until};
use futures::{Stream, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{from_value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(120);

/// A namespace of one test, seen directly and through a proxy of its own.
struct Scene {
    proxy: FaultProxy,
    direct: Api<ConfigMap>,
    proxied: Api<ConfigMap>,
    kubeconfig: PathBuf,
}

async fn scene() -> Scene {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("proxy").await.unwrap();
    let proxy = FaultProxy::to_api_server(control_plane).await.unwrap();
    let kubeconfig = control_plane.proxied_kubeconfig(&control_plane.admin_kubeconfig(), &proxy).unwrap();
    let direct = Api::namespaced(control_plane.client().await.unwrap(), &namespace);
    let proxied = Api::namespaced(control_plane.client_for(&kubeconfig).await.unwrap(), &namespace);
    wait_served(&direct).await;
    Scene { proxy, direct, proxied, kubeconfig }
}

/// A server that has just started answers 429 until it has listed what is stored.
async fn wait_served(api: &Api<ConfigMap>) {
    wait_until("the server to list and watch", LIMIT, async || {
        api.list(&ListParams::default()).await?;
        api.watch(&WatchParams::default(), "0").await.map(drop)
    })
    .await
    .unwrap();
}

fn config_map(name: &str) -> ConfigMap {
    from_value(json!({"metadata": {"name": name}, "data": {"key": "value".repeat(200)}})).unwrap()
}

async fn create(api: &Api<ConfigMap>, name: &str) -> kube::Result<ConfigMap> {
    api.create(&PostParams::default(), &config_map(name)).await
}

async fn watch(api: &Api<ConfigMap>) -> impl Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin {
    Box::pin(api.watch(&WatchParams::default().disable_bookmarks(), "0").await.unwrap())
}

/// The name of the next object that a watch reports as added.
async fn next_name(events: &mut (impl Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Unpin)) -> Option<String> {
    match tokio::time::timeout(LIMIT, events.try_next()).await.unwrap() {
        Ok(Some(WatchEvent::Added(map))) => Some(map.name_any()),
        Ok(Some(other)) => panic!("unexpected {other:?}"),
        Ok(None) | Err(_) => None,
    }
}

/// The status of an answer, or `None` if the connection broke.
fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> Option<u16> {
    match result.unwrap_err() {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn everything_passes_by_default_watches_included() {
    let Scene { proxy, direct, proxied, kubeconfig } = scene().await;
    let mut events = watch(&proxied).await;
    for name in ["one", "two"] {
        create(&direct, name).await.unwrap();
        assert_eq!(next_name(&mut events).await.as_deref(), Some(name));
    }
    assert_eq!(proxied.list(&ListParams::default()).await.unwrap().items.len(), 2);
    assert_eq!(proxy.counts(), Counts { passed: 2, ..Counts::default() });

    // kubectl speaks its own dialect of HTTP and TLS.
    let control_plane = ControlPlane::shared().await.unwrap();
    let through = ["--kubeconfig", kubeconfig.to_str().unwrap(), "get", "--raw", "/readyz"];
    let output = control_plane.kubectl(through).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok", "{}", String::from_utf8_lossy(&output.stderr));
    assert!(proxy.counts().passed > 2);
}

#[tokio::test]
async fn an_answer_replaces_the_request_for_as_long_as_asked() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    let conflict = proxy.inject(Fault::answer(409), Matching::any().method("POST").path("/configmaps").times(2));
    assert_eq!(code(create(&proxied, "one").await), Some(409));
    assert!(proxied.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(code(create(&proxied, "one").await), Some(409));
    create(&proxied, "one").await.unwrap();
    assert_eq!(conflict.hits(), 2);

    let body = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}});
    let expired = Fault::Answer { code: 200, retry_after: None, body: Some(format!("{body}\n")) };
    proxy.inject(expired, Matching::any().path("watch=true").times(1));
    match watch(&proxied).await.try_next().await.unwrap() {
        Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
        other => panic!("unexpected {other:?}"),
    }
    direct.get("one").await.unwrap();
}

#[tokio::test]
async fn an_overloaded_server_says_when_to_come_back() {
    let Scene { proxy, .. } = scene().await;
    proxy.inject(Fault::too_many_requests(Some(86_400)), Matching::any().path("/overloaded"));
    let control_plane = ControlPlane::shared().await.unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(
        kube::config::Kubeconfig::read_from(
            control_plane.proxied_kubeconfig(&control_plane.admin_kubeconfig(), &proxy).unwrap(),
        )
        .unwrap(),
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    config.default_retry = false;
    let client = kube::Client::try_from(config).unwrap();
    let request = http::Request::get("/overloaded").body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers().get("retry-after").unwrap(), "86400");
}

#[tokio::test]
async fn a_dropped_answer_hides_a_request_that_went_through() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    let dropped = proxy.inject(Fault::DropAnswer, Matching::any().method("POST").times(1));
    assert_eq!(code(create(&proxied, "one").await), None);
    assert_eq!(dropped.hits(), 1);
    direct.get("one").await.unwrap();
    assert_eq!(code(create(&proxied, "one").await), Some(409));
}

#[tokio::test]
async fn a_cut_answer_breaks_in_its_middle() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    create(&direct, "one").await.unwrap();
    for after_bytes in [0, 100] {
        let cut = proxy.inject(Fault::Cut { after_bytes }, Matching::any().method("GET").times(1));
        assert_eq!(code(proxied.get("one").await), None, "after {after_bytes} bytes");
        assert_eq!(cut.hits(), 1);
    }
    let one_event = serde_json::to_vec(&direct.get("one").await.unwrap()).unwrap().len() + 100;
    proxy.inject(Fault::Cut { after_bytes: one_event + 100 }, Matching::any().path("watch=true").times(1));
    let mut events = watch(&proxied).await;
    assert_eq!(next_name(&mut events).await.as_deref(), Some("one"));
    create(&direct, "two").await.unwrap();
    assert_eq!(next_name(&mut events).await, None, "the second event is cut in its middle");
    proxied.get("one").await.unwrap();
}

#[tokio::test]
async fn a_stalled_request_is_neither_answered_nor_passed_on() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    let stall = proxy.inject(Fault::Stall, Matching::any().method("POST"));
    let pending = tokio::spawn({
        let proxied = proxied.clone();
        async move { create(&proxied, "one").await }
    });
    wait_until("the request to arrive", LIMIT, async || if stall.hits() == 1 { Ok(()) } else { Err("no hit") })
        .await
        .unwrap();
    // Another request overtakes it.
    assert!(direct.get_opt("one").await.unwrap().is_none());
    assert!(proxied.get_opt("one").await.unwrap().is_none());
    assert!(!pending.is_finished());
    stall.remove();
    create(&proxied, "one").await.unwrap();
    proxy.cut_connections();
    assert_eq!(code(tokio::time::timeout(LIMIT, pending).await.unwrap().unwrap()), None);
}

#[tokio::test]
async fn a_delay_only_takes_time() {
    let Scene { proxy, proxied, .. } = scene().await;
    let time = Duration::from_millis(300);
    proxy.inject(Fault::Delay(time), Matching::any().times(1));
    let started = Instant::now();
    create(&proxied, "one").await.unwrap();
    assert!(started.elapsed() >= time);
    assert_eq!(proxy.counts(), Counts { delayed: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_closed_port_breaks_everything_until_it_opens() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    create(&direct, "one").await.unwrap();
    let mut events = watch(&proxied).await;
    assert_eq!(next_name(&mut events).await.as_deref(), Some("one"));
    proxy.refuse().await;
    assert_eq!(next_name(&mut events).await, None);
    assert_eq!(code(proxied.get("one").await), None);
    proxy.refuse().await;
    proxy.accept().await.unwrap();
    proxy.accept().await.unwrap();
    proxied.get("one").await.unwrap();
}

#[tokio::test]
async fn silence_holds_back_open_watches() {
    let Scene { proxy, direct, proxied, .. } = scene().await;
    create(&direct, "one").await.unwrap();
    let mut events = watch(&proxied).await;
    assert_eq!(next_name(&mut events).await.as_deref(), Some("one"));
    proxy.silence();
    create(&direct, "two").await.unwrap();
    // Another client of the same server sees it; this one must not.
    let mut others = watch(&direct).await;
    assert_eq!(next_name(&mut others).await.as_deref(), Some("one"));
    assert_eq!(next_name(&mut others).await.as_deref(), Some("two"));
    assert!(tokio::time::timeout(Duration::from_millis(300), events.try_next()).await.is_err());
    proxy.resume();
    assert_eq!(next_name(&mut events).await.as_deref(), Some("two"));
}

#[tokio::test]
async fn a_dead_server_looks_dead_through_the_proxy() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let proxy = FaultProxy::to_api_server(&control_plane).await.unwrap();
    let kubeconfig = control_plane.proxied_kubeconfig(&control_plane.admin_kubeconfig(), &proxy).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(control_plane.client_for(&kubeconfig).await.unwrap());
    wait_served(&maps).await;
    control_plane.stop_api_server();
    assert_eq!(code(maps.list(&ListParams::default()).await), None);
    control_plane.start_api_server().await.unwrap();
    wait_served(&maps).await;
}

#[tokio::test]
async fn a_certificate_cannot_go_through() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let proxy = FaultProxy::to_api_server(control_plane).await.unwrap();
    let kubeconfig = control_plane.person("carol", None).unwrap();
    let refused = control_plane.proxied_kubeconfig(&kubeconfig, &proxy).unwrap_err().to_string();
    assert!(refused.contains("use one with a token"), "{refused}");
}

#[tokio::test]
async fn a_plain_server_is_served_plainly() {
    // A proxy is a plain server too: the outer one passes to the inner one, which answers.
    let inner = FaultProxy::to_http("http://127.0.0.1:9").await.unwrap();
    let body = "{\"errors\":[\"throttled\"]}".to_owned();
    inner.inject(Fault::Answer { code: 503, retry_after: None, body: Some(body.clone()) }, Matching::any());
    let outer = FaultProxy::to_http(&inner.url()).await.unwrap();
    let mut config = kube::Config::new(outer.url().parse().unwrap());
    config.default_retry = false;
    let client = kube::Client::try_from(config).unwrap();
    let request = http::Request::get("/v1/secret?list=true").body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect_bytes().await.unwrap(), body);
    assert_eq!(inner.counts(), Counts { answered: 1, ..Counts::default() });
    assert_eq!(outer.counts(), Counts { passed: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_broken_connection_is_reset_and_not_closed() {
    let server = FaultProxy::to_http("http://127.0.0.1:9").await.unwrap();
    server.inject(Fault::answer(200), Matching::any());
    let proxy = FaultProxy::to_http(&server.url()).await.unwrap();
    let address = proxy.url().strip_prefix("http://").unwrap().to_owned();
    for (fault, least) in [(Fault::DropAnswer, 0), (Fault::Cut { after_bytes: 10 }, 10)] {
        proxy.inject(fault.clone(), Matching::any().times(1));
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: proxy\r\n\r\n").await.unwrap();
        let mut received = Vec::new();
        let error = stream.read_to_end(&mut received).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{fault:?}");
        let text = String::from_utf8(received).unwrap();
        let body = text.split_once("\r\n\r\n").map_or("", |(_head, body)| body);
        assert_eq!(body.len(), least, "{fault:?}: {text}");
    }
    proxy.refuse().await;
    assert_eq!(TcpStream::connect(&address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
