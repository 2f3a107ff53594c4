//! Alerts and dashboard: they ask for metrics, labels and words that there are, and each alert has its entry in the runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use atmos_secrets::backend::ErrorKind;
use atmos_secrets::backend::guarded::Operation;
use atmos_secrets::metrics::{Gauges, Metrics};
use serde_json::Value;

use crate::helm::{CHART, RELEASE, find, objects};

const RUNBOOK: &str = "https://github.com/atmos-secrets/atmos-secrets-operator/blob/main/docs/operations.md#";

fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect(path)
}

#[expect(clippy::disallowed_methods, reason = "a file of this repository, not a value")]
fn alerts() -> Value {
    serde_saphyr::from_str(&read(&format!("{CHART}/files/alerts.yaml"))).unwrap()
}

fn rules(alerts: &Value) -> Vec<&Value> {
    let groups = alerts["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read(&format!("{CHART}/files/dashboard.json"))).unwrap()
}

/// What can be asked for: names of series, and for each its labels with their words; no words means any.
type Known = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What the operator serves. The words of `lane` and `result` are those of the page of operations that the source has too.
fn served() -> Known {
    let page = read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let (_, row) = page.split_once("\n| `atmos_secrets_syncs_total` |").unwrap();
    let words = |label: &str| {
        let (_, rest) = row.lines().next().unwrap().split_once(&format!("`{label}` (")).unwrap();
        let words: Vec<String> = rest.split(')').next().unwrap().split(", ").map(str::to_owned).collect();
        let source = read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/controller/work.rs"));
        assert!(words.iter().all(|word| source.contains(&format!("\"{word}\""))), "{words:?}");
        words
    };
    let metrics = Metrics::new().unwrap();
    for lane in words("lane") {
        for result in words("result") {
            metrics.synced(String::leak(lane.clone()), String::leak(result), Duration::ZERO);
        }
    }
    let outcomes = [
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Unexpected,
    ];
    for operation in [Operation::Read, Operation::Probe, Operation::Write, Operation::Check] {
        for outcome in outcomes.map(ErrorKind::label).into_iter().chain(["ok"]) {
            metrics.store_called(operation.label(), outcome, Duration::ZERO);
        }
    }
    let text = String::from_utf8(metrics.render(&Gauges::default()).unwrap()).unwrap();
    let mut known = Known::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let entry = known.entry(name.to_owned()).or_default();
        for (label, word) in labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('=')) {
            entry.entry(label.to_owned()).or_default().insert(word.trim_matches('"').to_owned());
        }
    }
    known
}

/// What the kubelet serves of every container
/// (<https://kubernetes.io/docs/reference/instrumentation/metrics/>, cAdvisor's).
fn of_the_kubelet() -> Known {
    let labels: BTreeMap<_, _> =
        ["namespace", "pod", "container"].map(|label| (label.to_owned(), BTreeSet::new())).into();
    ["container_memory_working_set_bytes", "container_cpu_usage_seconds_total"]
        .map(|name| (name.to_owned(), labels.clone()))
        .into()
}

/// The series that an expression of PromQL asks for, each with its matchers, and the labels that it groups by.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    series: Vec<(String, Vec<(String, String)>)>,
    groups: BTreeSet<String>,
}

fn asked(expression: &str) -> Asked {
    let mut asked = Asked::default();
    let mut rest = expression;
    while let Some(start) = rest.find(|character: char| character.is_ascii_alphabetic() || character == '_') {
        // A duration or a variable is no name.
        let is_name = !rest[..start].ends_with(|before: char| before.is_ascii_digit() || before == '$');
        let name: String = rest[start..]
            .chars()
            .take_while(|character| character.is_ascii_alphanumeric() || *character == '_')
            .collect();
        rest = &rest[start + name.len()..];
        let inside = |open: char, close: char| rest.trim_start().strip_prefix(open)?.split_once(close);
        match inside('{', '}') {
            Some((matchers, after)) if is_name => {
                let matchers = matchers.split(", ").map(|matcher| {
                    let (label, word) = matcher.split_once(['=', '!']).expect(matcher);
                    (label.to_owned(), word.trim_start_matches(['=', '~']).trim_matches('"').to_owned())
                });
                asked.series.push((name, matchers.collect()));
                rest = after;
            }
            _ if name == "by" => {
                let (labels, after) = inside('(', ')').unwrap();
                asked.groups.extend(labels.split(", ").map(str::to_owned));
                rest = after;
            }
            _ if is_name && !rest.starts_with('(') && !rest.trim_start().starts_with("by ") => {
                asked.series.push((name, Vec::new()))
            }
            _ => {}
        }
    }
    asked
}

/// What an expression asks for in vain.
fn unknown(expression: &str, known: &Known) -> Vec<String> {
    let Asked { series, groups } = asked(expression);
    let mut wrong = Vec::new();
    if series.is_empty() {
        wrong.push("no metric at all".to_owned());
    }
    for (name, matchers) in &series {
        let Some(labels) = known.get(name) else {
            wrong.push(name.clone());
            continue;
        };
        for (label, words) in matchers {
            let Some(allowed) = labels.get(label) else {
                wrong.push(format!("{name}{{{label}}}"));
                continue;
            };
            let is_variable = words.starts_with('$');
            let strangers =
                words.split('|').filter(|word| !allowed.is_empty() && !is_variable && !allowed.contains(*word));
            wrong.extend(strangers.map(|word| format!("{name}{{{label}={word}}}")));
        }
        wrong.extend(groups.iter().filter(|label| !labels.contains_key(*label)).map(|label| format!("by {label}")));
    }
    wrong
}

#[test]
fn expressions_are_read() {
    let series = |name: &str, matchers: &[(&str, &str)]| {
        (name.to_owned(), matchers.iter().map(|(label, word)| ((*label).to_owned(), (*word).to_owned())).collect())
    };
    let asked_for = asked(r#"max_over_time(sum by (a, le) (rate(x_total{a=~"b|c", d!="e"}[5m]))[10m:1m]) / y > 0.5"#);
    assert_eq!(asked_for.series, [series("x_total", &[("a", "b|c"), ("d", "e")]), series("y", &[])]);
    assert_eq!(asked_for.groups, ["a", "le"].map(str::to_owned).into());

    let known = served();
    assert_eq!(unknown("sum(atmos_secrets_queue{place=\"user\"})", &known), [""; 0]);
    for (expression, wrong) in [
        ("atmos_secrets_queues", "atmos_secrets_queues"),
        ("atmos_secrets_queue{lane=\"user\"}", "atmos_secrets_queue{lane}"),
        ("atmos_secrets_queue{place=~\"user|front\"}", "atmos_secrets_queue{place=front}"),
        ("sum by (store) (atmos_secrets_queue)", "by store"),
        ("atmos_secrets_sync_seconds", "atmos_secrets_sync_seconds"),
        ("sum(1)", "no metric at all"),
    ] {
        assert_eq!(unknown(expression, &known), [wrong], "{expression}");
    }
}

#[test]
fn every_alert_asks_for_what_there_is_and_leads_to_its_entry() {
    let known = served();
    let alerts = alerts();
    let page = read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let (_, section) = page.split_once("\n### Alerts\n").unwrap();
    let section = section.split("\n### ").next().unwrap();
    let entries: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("#### ")).collect();
    let names: Vec<&str> = rules(&alerts).iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(entries, names, "docs/operations.md has an entry for each alert, in the same order");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    for rule in rules(&alerts) {
        let name = rule["alert"].as_str().unwrap();
        assert_eq!(unknown(rule["expr"].as_str().unwrap(), &known), [""; 0], "{name}");
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        let annotations = &rule["annotations"];
        assert!(annotations["summary"].is_string() && annotations["description"].is_string(), "{name}");
        assert_eq!(annotations["runbook_url"], format!("{RUNBOOK}{}", name.to_lowercase()), "{name}");
    }
}

fn expressions(panel: &Value) -> Vec<&str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()).collect()
}

/// The panels and their expressions.
fn panels(dashboard: &Value) -> Vec<(&Value, Vec<&str>)> {
    dashboard["panels"].as_array().unwrap().iter().map(|panel| (panel, expressions(panel))).collect()
}

#[test]
fn every_panel_asks_for_what_there_is() {
    let mut known = served();
    known.extend(of_the_kubelet());
    let dashboard = dashboard();
    let mut shown = BTreeSet::new();
    for (panel, expressions) in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(!expressions.is_empty() && panel["description"].is_string(), "{title}");
        for expression in expressions {
            assert_eq!(unknown(expression, &known), [""; 0], "{title}: {expression}");
            shown.extend(asked(expression).series.into_iter().map(|(name, _)| name));
        }
    }
    // Of a histogram, one of its three series will do.
    let part =
        |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned);
    let families = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().map(|name| part(name).unwrap_or_else(|| name.clone())).collect()
    };
    let all: BTreeSet<String> = known.into_keys().collect();
    assert_eq!(families(&shown), families(&all), "every metric has its panel");
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], RELEASE);
    let variables: BTreeSet<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "namespace"].into());
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for (panel, expressions) in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let at = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is beyond the edge");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
        for expression in expressions {
            for variable in expression.split('$').skip(1) {
                let is_known = variable.starts_with("__rate_interval") || variable.starts_with("namespace");
                assert!(is_known, "{title}: ${variable}");
            }
        }
    }
}

#[tokio::test]
async fn the_chart_delivers_both_as_they_are_if_asked() {
    let kinds = async |arguments: &[&str]| -> BTreeSet<String> {
        objects(arguments).await.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    let plain = kinds(&[]).await;
    assert!(!plain.contains("PrometheusRule") && !plain.contains("ConfigMap"), "{plain:?}");

    let rendered = objects(&["--set", "prometheusRule.enabled=true,dashboard.enabled=true"]).await;
    let rule = find(&rendered, "PrometheusRule", RELEASE);
    assert_eq!(rule["spec"], alerts());
    let map = find(&rendered, "ConfigMap", "atmos-secrets-operator-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let delivered: Value = serde_json::from_str(map["data"]["atmos-secrets-operator.json"].as_str().unwrap()).unwrap();
    assert_eq!(delivered, dashboard());
}
