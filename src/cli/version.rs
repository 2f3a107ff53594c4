//! `version`: of the plugin, and of the API and the operator in the cluster as far as they can be asked.

use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::context::{Cluster, ClusterArgs, is_forbidden};
use super::exit::{Exit, Failure};
use super::printer::Printer;
use crate::api::marks::OPERATOR;
use crate::api::{GROUP, VERSION};

/// How long the cluster is asked. The client's own version needs none of it.
const LIMIT: Duration = Duration::from_secs(5);

/// Print the versions of the plugin, the API in the cluster and the operator
///
/// Never fails because of the cluster: what cannot be asked is reported as unknown.
#[derive(Args, Debug)]
pub struct VersionArgs {
    /// Do not ask the cluster
    #[arg(long)]
    client: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// None; the type is that of all verbs.
pub async fn run(cluster: &ClusterArgs, args: &VersionArgs, printer: &mut Printer) -> Result<Exit, Failure> {
    let (api, operator) = if args.client { (None, None) } else { ask(cluster, printer).await };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), api, operator };
    match args.output {
        Output::Text => {
            printer.line(&format!("client    {}", versions.client));
            for (label, version) in [("api", &versions.api), ("operator", &versions.operator)] {
                if let Some(version) = version {
                    printer.line(&format!("{label:<10}{version}"));
                }
            }
        }
        Output::Json => printer.json(&versions),
        Output::Yaml => printer.yaml(&versions),
    }
    Ok(Exit::Ok)
}

async fn ask(cluster: &ClusterArgs, printer: &mut Printer) -> (Option<String>, Option<String>) {
    let unknown = || Some("unknown".to_owned());
    let cluster = match Cluster::connect(cluster).await {
        Ok(cluster) => cluster,
        Err(failure) => {
            printer.warning(&failure.message);
            return (unknown(), unknown());
        }
    };
    let asked = async { tokio::join!(api(&cluster.client), operator(&cluster.client)) };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok((api, operator)) => {
            let api = api.unwrap_or_else(|why| {
                printer.warning(why);
                unknown()
            });
            (api, operator.or_else(unknown))
        }
        Err(_) => {
            printer.warning("the cluster did not answer in time");
            (unknown(), unknown())
        }
    }
}

/// The served versions of our group: every authenticated user may discover them.
async fn api(client: &Client) -> Result<Option<String>, &'static str> {
    let groups = client.list_api_groups().await.map_err(|error| match error {
        kube::Error::Api(_) => "the cluster did not let you ask for its API versions",
        _ => "the cluster did not answer",
    })?;
    let Some(group) = groups.groups.into_iter().find(|group| group.name == GROUP) else {
        return Ok(Some("not installed".to_owned()));
    };
    let served: Vec<String> = group.versions.into_iter().map(|version| version.group_version).collect();
    let known = format!("{GROUP}/{VERSION}");
    let note = if served.contains(&known) { "" } else { " (not a version that this plugin knows)" };
    Ok(Some(format!("{}{note}", served.join(", "))))
}

/// The version label of the operator's Deployment, whose labels the chart sets; `None` if it cannot be seen.
async fn operator(client: &Client) -> Option<String> {
    let deployments: Api<Deployment> = Api::all(client.clone());
    let labels = ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}"));
    match deployments.list_metadata(&labels).await {
        Ok(list) => match list.items.first() {
            Some(found) => found.labels().get("app.kubernetes.io/version").cloned(),
            None => Some("not found".to_owned()),
        },
        Err(error) if is_forbidden(&error) => Some("unknown (you may not list Deployments)".to_owned()),
        Err(_) => None,
    }
}
