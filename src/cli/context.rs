//! Which cluster, namespace, Stack and component a verb is about, found as kubectl finds them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Resource, ResourceExt};

use super::credentials;
use super::exit::Failure;
use super::near;
use super::printer::Printer;
use crate::api::Stack;
use crate::backend;
use crate::backend::network::{self, AllowedHost, Network, ServiceEndpoint};
use crate::cluster::is_object_name;

/// How long one call to the API server may take. kube itself waits for ever.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection to the API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Objects in one answer of a list: what kubectl asks for.
const PAGE: u32 = 500;

/// Which cluster and namespace, with kubectl's own flags.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArgs {
    /// Path to the kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context [default: the current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// Namespace [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,
}

/// Which Stack and component.
#[derive(Args, Clone, Debug, Default)]
pub struct StackArgs {
    /// The Stack: the object's name or the Atmos stack name; may be left out if the namespace has only one
    #[arg(short, long, env = "ATMOS_STACK", value_name = "NAME")]
    pub stack: Option<String>,
    /// The component: its name, or its type and name
    #[arg(
        short,
        long,
        env = "ATMOS_COMPONENT",
        value_name = "NAME",
        help = "The component: its name, or <type>/<name>"
    )]
    pub component: Option<String>,
}

impl StackArgs {
    /// An empty variable is the same as none.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        self.stack.as_deref().filter(|name| !name.is_empty())
    }

    /// An empty variable is the same as none.
    #[must_use]
    pub fn component(&self) -> Option<&str> {
        self.component.as_deref().filter(|name| !name.is_empty())
    }
}

/// How stores are reached.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Stores")]
pub struct StoreArgs {
    /// The operator's namespace, where the sources of a sops ClusterStore lie
    // The default is the operator's own.
    #[arg(long, env = "ATMOS_OPERATOR_NAMESPACE", value_name = "NAME", default_value = "atmos-secrets")]
    pub operator_namespace: String,
    /// A host outside the provider's own that your credentials may be sent to, because you know the Stores that name it;
    /// may be given again
    #[arg(long, value_name = "HOST", env = "ATMOS_ALLOW_ENDPOINT", value_delimiter = ',')]
    pub allow_endpoint: Vec<AllowedHost>,
    /// Where a service of a provider is asked in place of its own address, as the operator's flag has it: for tests
    #[arg(long, hide = true, value_name = "SERVICE=URL")]
    pub service_endpoint: Vec<ServiceEndpoint>,
    /// Lets Stores name loopback addresses, with http, too: for tests
    #[arg(long, hide = true)]
    pub allow_loopback_endpoints: bool,
}

impl StoreArgs {
    /// The way to a store, with the person's own rules; `azure` says whether Azure is part of it.
    ///
    /// # Errors
    /// The system has no TLS to offer, or a variable of the environment is no address.
    pub fn network(&self, azure: bool) -> Result<Network, backend::Error> {
        self.network_with(azure, Vec::new())
    }

    /// The same, with other addresses of providers' services.
    ///
    /// # Errors
    /// As [`Self::network`].
    pub fn network_with(&self, azure: bool, services: Vec<ServiceEndpoint>) -> Result<Network, backend::Error> {
        let Self { operator_namespace: _, allow_endpoint, service_endpoint, allow_loopback_endpoints } = self;
        let azure_login = if azure { credentials::azure_login()? } else { None };
        Network::new(network::Settings {
            allowed_hosts: allow_endpoint.iter().cloned().chain(credentials::vault_host()).collect(),
            services: azure_login.into_iter().chain(services).chain(service_endpoint.iter().cloned()).collect(),
            loopback: *allow_loopback_endpoints,
            ..network::Settings::default()
        })
    }
}

/// The cluster that a verb talks to, with the user's own rights.
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace of `-n`, else of the context.
    pub namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig and prepares a client; no call is made.
    ///
    /// # Errors
    /// Usage, if the kubeconfig, the context or a credential in it cannot be used.
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Failure> {
        let ClusterArgs { kubeconfig, context, namespace } = args;
        let mut config = load(kubeconfig.as_ref(), context.as_ref()).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        config.read_timeout = Some(CALL_LIMIT);
        config.reset_reader_on_write = true;
        config.write_timeout = Some(CALL_LIMIT);
        // kube's own retry goes up to 15 times and obeys any Retry-After: a person would see nothing for minutes.
        config.default_retry = false;
        let namespace = namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        // The error may quote a credential of the kubeconfig, so its text stays here.
        let client = Client::try_from(config).map_err(|_| {
            Failure::usage("could not use the server address or the credentials of this kubeconfig context")
                .hint("try `kubectl auth whoami` with the same kubeconfig and context")
        })?;
        Ok(Self { client, namespace })
    }

    /// The Stacks of the namespace, or of all namespaces, sorted. One that this version cannot read is named in a
    /// warning and left out.
    ///
    /// # Errors
    /// Access.
    pub async fn stacks(&self, all_namespaces: bool, printer: &mut Printer) -> Result<Vec<Stack>, Failure> {
        let resource = ApiResource::erase::<Stack>(&());
        let api: Api<DynamicObject> = if all_namespaces {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        };
        let place = if all_namespaces { "all namespaces".to_owned() } else { format!("namespace {}", self.namespace) };
        let mut stacks = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list =
                api.list(&page).await.map_err(|error| request_failed(&format!("list Stacks in {place}"), &error))?;
            for object in list.items {
                let name = object.name_any();
                let namespace = object.namespace().unwrap_or_default();
                match read(object) {
                    Some(stack) => stacks.push(stack),
                    None => printer.warning(&unreadable(&namespace, &name)),
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        stacks.sort_by_key(|stack| (stack.namespace().unwrap_or_default(), stack.name_any()));
        Ok(stacks)
    }

    /// The Stack that `-s` names, or the only one of the namespace.
    ///
    /// # Errors
    /// Usage if the choice is open; access if there is none, or it cannot be read.
    pub async fn stack(&self, args: &StackArgs, printer: &mut Printer) -> Result<Stack, Failure> {
        if let Some(name) = args.stack()
            && let Some(stack) = self.stack_object(name).await?
        {
            return Ok(stack);
        }
        let stacks = self.stacks(false, printer).await?;
        choose(stacks, args.stack(), &self.namespace)
    }

    /// The Stack whose object has this name; `None` if there is none.
    ///
    /// # Errors
    /// Access.
    pub async fn stack_object(&self, name: &str) -> Result<Option<Stack>, Failure> {
        if !is_object_name(name) {
            return Ok(None);
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<Stack>(&()));
        let place = format!("read Stack {name} in namespace {}", self.namespace);
        let Some(object) = api.get_opt(name).await.map_err(|error| request_failed(&place, &error))? else {
            return Ok(None);
        };
        match read(object) {
            Some(stack) => Ok(Some(stack)),
            None => Err(Failure::access(unreadable(&self.namespace, name))),
        }
    }
}

/// The Atmos stack name, which stands in coordinates.
#[must_use]
pub fn atmos_stack(stack: &Stack) -> String {
    stack.spec.name.clone().unwrap_or_else(|| stack.name_any())
}

/// Whether a Stack is the one that `-s` names.
#[must_use]
pub fn is_named(stack: &Stack, name: &str) -> bool {
    stack.name_any() == name || atmos_stack(stack) == name
}

/// Picks among the Stacks of a namespace. The object's name was tried before, so that it goes before an Atmos name.
fn choose(mut stacks: Vec<Stack>, name: Option<&str>, namespace: &str) -> Result<Stack, Failure> {
    let names: Vec<String> = stacks.iter().map(ResourceExt::name_any).collect();
    if let Some(name) = name {
        stacks.retain(|stack| is_named(stack, name));
        if stacks.is_empty() {
            let failure = Failure::access(format!("no Stack {name} in namespace {namespace}"));
            return Err(match near::nearest(name, names.iter().map(String::as_str)) {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure.hint("see `kubectl get stacks -A`; -n chooses another namespace"),
            });
        }
    }
    let matching: Vec<String> = stacks.iter().map(ResourceExt::name_any).collect();
    match (stacks.pop(), stacks.is_empty()) {
        (Some(stack), true) => Ok(stack),
        (Some(_), false) => Err(Failure::usage(match name {
            Some(name) => format!("several Stacks in namespace {namespace} have the Atmos name {name}"),
            None => format!("there are several Stacks in namespace {namespace}"),
        })
        .hint(format!("name one with -s or ATMOS_STACK: {}", matching.join(", ")))),
        (None, _) => Err(Failure::access(format!("there is no Stack in namespace {namespace}"))
            .hint("see `kubectl get stacks -A`; -n chooses another namespace")),
    }
}

async fn load(path: Option<&PathBuf>, context: Option<&String>) -> Result<Config, Failure> {
    let options = KubeConfigOptions { context: context.cloned(), cluster: None, user: None };
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error)),
        // In a pod there is no file; kubectl does the same.
        Err(KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath) if path.is_none() && context.is_none() => {
            Config::incluster().map_err(|_| {
                Failure::usage("found no kubeconfig").hint("set KUBECONFIG, or give one with --kubeconfig")
            })
        }
        Err(error) => Err(unusable(&error)),
    }
}

/// Our words for a kubeconfig that cannot be used: the library's own may quote what is in it.
fn unusable(error: &KubeconfigError) -> Failure {
    let hint = "see `kubectl config get-contexts`";
    match error {
        KubeconfigError::CurrentContextNotSet => {
            Failure::usage("the kubeconfig has no current context").hint("choose one with --context")
        }
        KubeconfigError::LoadContext(name) => {
            Failure::usage(format!("the kubeconfig has no context {name}")).hint(hint)
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            Failure::usage(format!("the kubeconfig has no cluster {name}, which its context names")).hint(hint)
        }
        KubeconfigError::ReadConfig(error, path) => {
            Failure::usage(format!("could not read the kubeconfig {}: {}", path.display(), error.kind()))
        }
        KubeconfigError::Parse(_) => Failure::usage("the kubeconfig is not valid YAML"),
        _ => Failure::usage("the kubeconfig cannot be used").hint("try `kubectl cluster-info`"),
    }
}

/// Our words for a call to the API server that failed. `tried` follows "could not": `list Stacks in namespace x`.
#[must_use]
pub fn request_failed(tried: &str, error: &kube::Error) -> Failure {
    let failure = |why: &str| Failure::access(format!("could not {tried}: {why}"));
    match error {
        kube::Error::Api(status) => match status.code {
            401 => failure("the cluster did not accept your credentials")
                .hint("try `kubectl auth whoami` with the same kubeconfig"),
            403 => failure("you have no right to").hint("`kubectl auth can-i --list` shows your rights"),
            404 => failure("the cluster does not have it")
                .hint("are the CRDs of atmos-secrets-operator installed? try `kubectl atmos-secret version`"),
            409 => failure("somebody else changed it at the same time").hint("try again"),
            429 | 503 | 504 => failure("the cluster is busy").hint("try again in a moment").passing(),
            code @ 500..=599 => failure(&format!("the cluster answered {code}")).passing(),
            code => failure(&format!("the cluster answered {code}")),
        },
        kube::Error::Service(_) | kube::Error::HyperError(_) => {
            failure("the cluster did not answer").hint("try `kubectl version` with the same kubeconfig").passing()
        }
        kube::Error::Auth(_) => failure("the credentials of this kubeconfig context cannot be used")
            .hint("try `kubectl auth whoami` with the same kubeconfig"),
        _ => failure("the answer makes no sense"),
    }
}

/// Whether the API server said that the user may not.
#[must_use]
pub fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

fn read(object: DynamicObject) -> Option<Stack> {
    serde_json::to_value(object).and_then(serde_json::from_value).ok()
}

fn unreadable(namespace: &str, name: &str) -> String {
    format!("Stack {namespace}/{name} is stored in a form that this version of the plugin cannot read")
}

/// `<namespace>/<name>` of a Stack, for messages.
#[must_use]
pub fn full_name(stack: &Stack) -> String {
    format!("{}/{}", stack.meta().namespace.as_deref().unwrap_or_default(), stack.name_any())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::api::StackSpec;

    fn stack(object: &str, atmos: Option<&str>) -> Stack {
        Stack::new(object, StackSpec { name: atmos.map(str::to_owned), ..StackSpec::default() })
    }

    #[test]
    fn the_only_stack_needs_no_name() {
        assert_eq!(choose(vec![stack("a", None)], None, "ns").unwrap().name_any(), "a");
        assert!(choose(vec![], None, "ns").unwrap_err().message.contains("no Stack in namespace ns"));
        let several = choose(vec![stack("a", None), stack("b", None)], None, "ns").unwrap_err();
        assert_eq!(several.exit, super::super::exit::Exit::Usage);
        assert_eq!(several.hint.unwrap(), "name one with -s or ATMOS_STACK: a, b");
    }

    #[test]
    fn an_atmos_name_finds_its_object() {
        let stacks = vec![stack("a", Some("plat/ue1")), stack("b", None)];
        assert_eq!(choose(stacks.clone(), Some("plat/ue1"), "ns").unwrap().name_any(), "a");
        let wrong = choose(stacks, Some("bb"), "ns").unwrap_err();
        assert_eq!(wrong.message, "no Stack bb in namespace ns");
        assert_eq!(wrong.hint.unwrap(), "did you mean b?");
    }
}
