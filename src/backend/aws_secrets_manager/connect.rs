//! From the spec of a Store to a driver that has asked nothing yet.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use aws_sdk_secretsmanager::Client;

use super::{AwsSecretsManager, Region};
use crate::api::store;
use crate::backend::Error;
use crate::backend::aws::{Place, check_region};
use crate::backend::credentials::Surroundings;
use crate::backend::credentials::aws::Login;
use crate::backend::network::Network;

/// Connects a store. Asks nothing of it.
///
/// # Errors
/// `InvalidConfig`, `EndpointNotAllowed`, and what keeps the credentials from being read.
pub async fn connect(spec: &store::AwsSecretsManager, around: &Surroundings) -> Result<AwsSecretsManager, Error> {
    let store::AwsSecretsManager { region, endpoint, kms_key_id, tags, replica_regions, auth } = spec;
    check_region("awsSecretsManager.region", region)?;
    replica_regions.iter().try_for_each(|name| check_region("awsSecretsManager.replicaRegions", name))?;
    let place = |region: &String| {
        let endpoint = endpoint.as_deref().map(|text| endpoint_in(region, text, &around.network)).transpose()?;
        Ok((region.clone(), endpoint))
    };
    let home = place(region)?;
    let replicas = replica_regions.iter().map(place).collect::<Result<Vec<_>, Error>>()?;
    let login = Login::new(auth.as_ref(), region, around).await?;
    let in_region = |(name, endpoint): (String, Option<String>)| {
        let place = Place { region: &name, endpoint: endpoint.as_deref(), network: around.network.client() };
        let client = Client::new(&place.config(Some(login.provider())));
        Region { name, client }
    };
    let regions = u32::try_from(replica_regions.len()).unwrap_or(u32::MAX).saturating_add(1);
    Ok(AwsSecretsManager {
        store: around.store.clone(),
        encoding: around.encoding,
        home: in_region(home),
        replicas: replicas.into_iter().map(in_region).collect(),
        // A little less than its share, so that the last one's answer comes before the deadline of all.
        patience: around.timeout.mul_f64(0.9) / regions,
        resting: Mutex::default(),
        no_batches: AtomicBool::new(false),
        kms_key_id: kms_key_id.clone(),
        tags: tags.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
        login,
    })
}

/// The endpoint of one region: `{region}` in it stands for the name.
fn endpoint_in(region: &str, text: &str, network: &Network) -> Result<String, Error> {
    let url = network.custom("awsSecretsManager.endpoint", &text.replace("{region}", region))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
