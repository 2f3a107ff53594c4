//! The rules of the network, on real connections over loopback.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn network(settings: Settings) -> Network {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Network::new(settings).unwrap()
}

fn allowing(hosts: &[&str]) -> Network {
    network(Settings {
        allowed_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        refused: BTreeSet::from(["10.96.0.1".parse().unwrap()]),
        ..Settings::default()
    })
}

/// A network whose names lead where `answers` says, one answer after the other; the last one stays.
fn resolving(loopback: bool, answers: &'static [&'static str]) -> (Network, Arc<AtomicUsize>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: address::Lookup = Arc::new(move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let addresses = answers[turn].split(' ').map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    });
    let settings = Settings {
        allowed_hosts: vec!["store.example".parse().unwrap()],
        loopback,
        refused: BTreeSet::from(["10.96.0.1".parse().unwrap()]),
        ..Settings::default()
    };
    (Network::with_lookup(settings, lookup).unwrap(), asked)
}

fn get(url: &str) -> Request {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

/// A server that answers every connection with these bytes, and how often it did.
async fn server(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).await;
                let _ = connection.write_all(answer).await;
                let _ = connection.shutdown().await;
            });
        }
    });
    (port, served)
}

#[test]
fn hosts_are_allowed_by_name_by_domain_and_by_port() {
    let cases = [
        ("vault.example.com", "vault.example.com", 443, true),
        ("vault.example.com", "VAULT.example.com", 8200, true),
        ("vault.example.com", "vault.example.com.evil.com", 443, false),
        ("vault.example.com", "a.vault.example.com", 443, false),
        ("vault.example.com:8200", "vault.example.com", 8200, true),
        ("vault.example.com:8200", "vault.example.com", 443, false),
        ("vault.example.com:443", "vault.example.com", 443, true),
        ("vault.example.com:443", "vault.example.com", 8200, false),
        ("*.example.com", "a.b.example.com", 443, true),
        ("*.example.com", "example.com", 443, false),
        ("*.example.com", "evilexample.com", 443, false),
        ("*.example.com", ".example.com", 443, false),
        ("10.0.0.7", "10.0.0.7", 443, true),
        ("10.0.0.7", "10.0.0.8", 443, false),
        ("[fd12::7]:8200", "[fd12::7]", 8200, true),
    ];
    for (allowed, host, port, expected) in cases {
        let url = format!("https://{host}:{port}");
        assert_eq!(allowing(&[allowed]).custom("address", &url).is_ok(), expected, "{allowed}: {url}");
    }
    for text in ["", "*", "*.", "a/b", "*.10.0.0.1", "https://a", "user@host", "*.com", "a b"] {
        assert!(text.parse::<AllowedHost>().is_err(), "{text:?}");
    }
    let refused = allowing(&[]).custom("endpoint", "https://evil.example:1").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::EndpointNotAllowed);
    assert!(refused.message.contains("--allow-endpoint evil.example"), "{}", refused.message);
}

#[test]
fn an_address_must_be_https_and_nothing_but_an_address() {
    let network = allowing(&["vault.example.com"]);
    for text in [
        "http://vault.example.com",
        "http://127.0.0.1:1",
        "ftp://vault.example.com",
        "https://user:password@vault.example.com",
        "https://user@vault.example.com",
        "https://vault.example.com?x=1",
        "https://vault.example.com#x",
        "vault.example.com",
        "https://",
        "",
    ] {
        let error = network.custom("address", text).unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidConfig, "{text}: {error}");
        assert!(!error.message.contains("password"), "{error}");
    }
}

#[test]
fn no_store_is_at_a_special_address_in_whatever_form() {
    // The forms of https://url.spec.whatwg.org/#concept-ipv4-parser, and IPv4 within IPv6.
    let special = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "169.254.170.2",
        "[fd00:ec2::254]",
        "[fd00:ec2::23]",
        "[fd20:ce::254]",
        "[fe80::1]",
        "[febf::1]",
        "168.63.129.16",
        "100.100.100.200",
        "0.0.0.0",
        "0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
        "[ff02::1]",
        "10.96.0.1",
        "[::ffff:10.96.0.1]",
        "012.96.0.1",
    ];
    for host in special {
        // Even on the allow-list.
        let network = allowing(&[host]);
        let error = network.custom("endpoint", &format!("https://{host}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::EndpointNotAllowed, "{host}: {error}");
        assert!(!error.message.contains("--allow-endpoint"), "{error}");
    }
    for host in ["10.0.0.7", "192.168.1.1", "172.16.0.1", "100.64.0.1", "1.1.1.1", "[fd12::1]", "[2001:db8::1]"] {
        assert!(allowing(&[host]).custom("endpoint", &format!("https://{host}")).is_ok(), "{host}");
    }
}

#[tokio::test]
async fn every_address_of_a_name_is_checked() {
    for answer in ["169.254.169.254", "10.0.0.7 169.254.169.254", "::ffff:127.0.0.1", "10.96.0.1", "fd00:ec2::254"] {
        let (network, _) = resolving(false, Box::leak(Box::new([&*answer.to_owned().leak()])));
        let error = network.client().send(get("https://store.example/")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::EndpointNotAllowed, "{answer}: {error}");
        assert!(error.message.starts_with("store.example: "), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_changes_its_answer_gains_nothing() {
    let (port, served) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // First a harmless address, then this machine: what was checked is what is connected to.
    let (network, asked) = resolving(false, &["192.0.2.1", "127.0.0.1"]);
    let client = network.client();
    let url = format!("https://store.example:{port}/");
    let first = tokio::time::timeout(std::time::Duration::from_millis(300), client.send(get(&url))).await;
    assert!(first.is_err() || first.unwrap().is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one question for one connection");
    assert_eq!(client.send(get(&url)).await.unwrap_err().kind, ErrorKind::EndpointNotAllowed);
    assert_eq!(served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn loopback_and_http_are_for_tests() {
    let (port, served) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let url = format!("http://127.0.0.1:{port}/");
    let open = network(Settings { loopback: true, ..Settings::default() });
    assert!(open.custom("endpoint", &url).is_ok());
    assert_eq!(open.client().send(get(&url)).await.unwrap().body().as_ref(), b"ok");
    let closed = network(Settings::default());
    assert!(closed.client().send(get(&url)).await.is_err());
    let https = format!("https://127.0.0.1:{port}/");
    assert_eq!(closed.client().send(get(&https)).await.unwrap_err().kind, ErrorKind::EndpointNotAllowed);
    assert_eq!(served.load(Ordering::SeqCst), 1);
    // Other special addresses stay closed.
    assert!(open.client().send(get("https://169.254.169.254/")).await.is_err());
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let (port, served) =
        server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/other\r\ncontent-length: 0\r\n\r\n").await;
    let open = network(Settings { loopback: true, ..Settings::default() });
    let answer = open.client().send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), served.load(Ordering::SeqCst)), (302, 1));
}

#[tokio::test]
async fn an_answer_has_a_limit_announced_or_not() {
    let open = network(Settings { loopback: true, ..Settings::default() });
    let client = open.client().with_limit(8);
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncanary-12"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ncanary-12\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ncanary-12",
    ] {
        let (port, _) = server(answer).await;
        let error = client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unexpected);
        assert!(error.message.contains("more than 8 bytes") && !error.message.contains("canary"), "{error}");
    }
    let (port, _) = server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\ncanary-1\r\n0\r\n\r\n").await;
    assert_eq!(client.send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap().body().as_ref(), b"canary-1");
}

#[tokio::test]
async fn what_breaks_is_told_without_a_word_of_the_other_side() {
    let open = network(Settings { loopback: true, ..Settings::default() });
    let (port, _) = server(b"canary, and no HTTP at all\r\n\r\n").await;
    let error = open.client().send(get(&format!("http://127.0.0.1:{port}/"))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = open.client().send(get(&format!("http://127.0.0.1:{closed}/"))).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "cannot connect to 127.0.0.1"));
}

#[tokio::test]
async fn the_metadata_service_has_a_client_of_its_own_that_goes_nowhere_else() {
    let closed = network(Settings::default());
    let rules = Rules { metadata: true, ..Rules::clone(&closed.rules) };
    let is_open = |rules: &Rules, url: &str| {
        let url = Url::parse(url).unwrap();
        rules.check_scheme(&url).is_ok() && rules.check_literal(&url).is_ok()
    };
    let metadata = "http://169.254.169.254/metadata/identity/oauth2/token";
    assert!(is_open(&rules, metadata) && !is_open(&closed.rules, metadata));
    for url in [
        "https://169.254.169.254/",
        "http://169.254.169.254:8080/",
        "http://169.254.170.2/",
        "http://168.63.129.16/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://example.com/",
        "https://example.com/",
    ] {
        assert!(!is_open(&rules, url), "{url}");
        let client = closed.client_for_metadata().unwrap();
        assert!(matches!(
            client.send(get(url)).await.unwrap_err().kind,
            ErrorKind::InvalidConfig | ErrorKind::EndpointNotAllowed
        ));
    }
}

#[test]
fn services_are_given_by_whoever_runs_the_process() {
    let endpoint: ServiceEndpoint = "aws-sts=https://sts.example.com".parse().unwrap();
    let network = network(Settings { services: vec![endpoint], ..Settings::default() });
    assert_eq!(network.service(Service::AwsSts).unwrap().as_str(), "https://sts.example.com/");
    assert!(network.service(Service::AzureLogin).is_none());
    for text in
        ["aws-sts", "none=https://a", "aws-sts=a", "aws-sts=ftp://a", "aws-sts=https://u@a", "aws-sts=https://a?b"]
    {
        assert!(text.parse::<ServiceEndpoint>().is_err(), "{text}");
    }
    let plain: ServiceEndpoint = "aws-sts=http://sts.example.com".parse().unwrap();
    assert!(Network::new(Settings { services: vec![plain], ..Settings::default() }).is_err());
}

#[test]
fn providers_own_hosts_need_no_allow_list() {
    let network = allowing(&["kept.example"]);
    let azure = |host: &str| host.ends_with(".vault.azure.net");
    let check = |url: &str| network.custom_or_providers("vaultUrl", url, azure);
    assert!(check("https://mine.vault.azure.net").is_ok());
    assert!(check("https://kept.example").is_ok());
    for url in
        ["https://mine.vault.azure.net.evil.example", "https://mine.vault.azure.net:8443", "https://evil.example"]
    {
        assert_eq!(check(url).unwrap_err().kind, ErrorKind::EndpointNotAllowed, "{url}");
    }
}

#[test]
fn classes_of_addresses() {
    let class = |text: &str| address::class(text.parse::<IpAddr>().unwrap());
    assert_eq!(class("::ffff:127.0.0.1"), address::Class::Loopback);
    assert_eq!(class("::127.0.0.1"), address::Class::Special("a loopback address in disguise"));
    assert_eq!(class("8.8.8.8"), address::Class::Ordinary);
}
