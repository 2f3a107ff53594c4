//! One Stack with all seven kinds of stores: what is asked of each, and five kinds of trouble at five stores at once.

mod scene;

use std::collections::BTreeMap;

use atmos_secrets::api::status::{SecretState, StackStatus};
use atmos_secrets::api::{Reason, Scope};
use e2e::{Fault, Matching};
use serde_json::json;

use self::scene::{COMPONENTS, Kind, Scene};
use crate::harness::secret;

/// How often requests are counted before the number is believed. Once, a check of a store may fall among them: it comes
/// some seconds after the store's users changed.
const COUNTS: usize = 5;

/// What befalls a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Denies,
    Throttles,
    IsDown,
    LosesOne,
    RotatesOne,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::Denies, Trouble::Throttles, Trouble::IsDown, Trouble::LosesOne, Trouble::RotatesOne];

fn told(status: &StackStatus, kind: Kind) -> Vec<(&str, SecretState, Option<Reason>)> {
    let of_kind = status.secrets.iter().filter(|entry| entry.name.starts_with(kind.word()));
    of_kind.map(|entry| (entry.name.as_str(), entry.state, entry.reason)).collect()
}

/// How often each store is asked for values during one sync.
async fn reads_of_a_sync(scene: &Scene) -> anyhow::Result<[(Kind, usize); Kind::OUTSIDE.len()]> {
    let counts = Kind::OUTSIDE.map(|kind| scene.count_reads(kind));
    scene.tenant.sync("prod").await?;
    let mut hits = Kind::OUTSIDE.map(|kind| (kind, 0));
    for ((_, hits), count) in hits.iter_mut().zip(counts) {
        *hits = count.hits(scene)?;
        count.remove();
    }
    Ok(hits)
}

#[tokio::test]
async fn forty_secrets_of_seven_kinds_are_read_in_as_few_calls_as_can_be() -> anyhow::Result<()> {
    let scene = Scene::new("1h").await?;
    let status = scene.tenant.wait_ready("prod").await?;
    assert_eq!(status.initialized.as_deref(), Some("40/40"));
    let scopes = |scope: Scope| status.secrets.iter().filter(|entry| entry.scope == scope).count();
    assert_eq!((scopes(Scope::Global), scopes(Scope::Stack), scopes(Scope::Instance)), (7, 7, 26));
    for kind in Kind::ALL {
        for component in COMPONENTS {
            let wanted = scene.data(kind, component);
            let wanted: Vec<(&str, &str)> =
                wanted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            scene.tenant.wait_secret(&Scene::target(kind, component), secret(&wanted)).await?;
        }
    }
    // Five keys each: ⌈5/20⌉, ⌈5/10⌉, and five.
    let expected = Kind::OUTSIDE.map(|kind| match kind {
        Kind::SecretsManager | Kind::Ssm => (kind, 1),
        Kind::Vault | Kind::Azure | Kind::Google => (kind, 5),
        Kind::Kubernetes | Kind::Sops => unreachable!("in the cluster"),
    });
    let mut counted = Vec::new();
    while counted.last() != Some(&expected) {
        assert!(counted.len() < COUNTS, "none of these is {expected:?}: {counted:?}");
        counted.push(reads_of_a_sync(&scene).await?);
    }
    for kind in [Kind::Vault, Kind::Azure, Kind::Google] {
        assert_eq!(scene.logins(kind)?, 1, "{kind:?}");
    }
    Ok(())
}

/// Round after round the troubles go from store to store, so that every store has each of them while the others have
/// another one.
#[tokio::test]
async fn each_store_has_its_own_trouble_and_the_others_go_on() -> anyhow::Result<()> {
    let mut scene = Scene::new("10s").await?;
    scene.tenant.wait_ready("prod").await?;
    for round in 0..TROUBLES.len() {
        let of_kind = |kind: Kind| TROUBLES[(kind.number() + round) % TROUBLES.len()];
        let before: BTreeMap<(Kind, &str), BTreeMap<String, String>> = Kind::ALL
            .into_iter()
            .flat_map(|kind| COMPONENTS.map(|component| (kind, component)))
            .map(|place| (place, scene.data(place.0, place.1)))
            .collect();
        let mut faults = Vec::new();
        for kind in Kind::OUTSIDE {
            match of_kind(kind) {
                Trouble::Denies => faults.push(scene.proxy(kind).inject(kind.refusal(403), kind.reads())),
                Trouble::Throttles => faults.push(scene.proxy(kind).inject(kind.refusal(429), Matching::any())),
                Trouble::IsDown => faults.push(scene.proxy(kind).inject(Fault::answer(503), Matching::any())),
                Trouble::LosesOne => scene.lose(kind, COMPONENTS[0]).await?,
                Trouble::RotatesOne => scene.rotate(kind, COMPONENTS[0]).await?,
            }
        }
        for kind in Kind::OUTSIDE {
            let lost = scene::name(kind, COMPONENTS[0]);
            match of_kind(kind) {
                Trouble::Denies => {
                    let denied = (SecretState::Error, Some(Reason::AccessDenied));
                    let all = |status: &StackStatus| {
                        told(status, kind).iter().all(|(_, state, reason)| (*state, *reason) == denied)
                    };
                    scene.tenant.wait_status("prod", &format!("{kind:?} to be denied"), all).await?;
                }
                Trouble::Throttles => drop(scene.tenant.wait_store(kind.store(), Reason::Throttled).await?),
                Trouble::IsDown => drop(scene.tenant.wait_store(kind.store(), Reason::Unreachable).await?),
                Trouble::LosesOne => {
                    let missing = |status: &StackStatus| {
                        told(status, kind).iter().all(|(name, state, reason)| match *name == lost {
                            true => (*state, *reason) == (SecretState::Missing, Some(Reason::ValueMissing)),
                            false => *state == SecretState::Initialized,
                        })
                    };
                    scene.tenant.wait_status("prod", &format!("{lost} to be missing"), missing).await?;
                }
                Trouble::RotatesOne => {
                    let wanted = scene.data(kind, COMPONENTS[0]);
                    let wanted: Vec<(&str, &str)> =
                        wanted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                    scene.tenant.wait_secret(&Scene::target(kind, COMPONENTS[0]), secret(&wanted)).await?;
                }
            }
        }
        // By now each trouble was met. What passes by itself is no matter of the Stack, and nobody else is harmed.
        let status = scene.tenant.status("prod").await?;
        for kind in Kind::ALL {
            let trouble = Kind::OUTSIDE.contains(&kind).then(|| of_kind(kind));
            if matches!(trouble, Some(Trouble::Denies | Trouble::LosesOne)) {
                continue;
            }
            let good = told(&status, kind).iter().all(|(_, state, _)| *state == SecretState::Initialized);
            assert!(good, "round {round}, {kind:?} with {trouble:?}: {}", json!(status.secrets));
        }
        for ((kind, component), data) in &before {
            let rotated = Kind::OUTSIDE.contains(kind) && of_kind(*kind) == Trouble::RotatesOne;
            if rotated && *component == COMPONENTS[0] {
                continue;
            }
            let wanted: Vec<(&str, &str)> = data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let found = scene.tenant.secret(&Scene::target(*kind, component)).await?;
            assert_eq!(found, secret(&wanted), "round {round}: {kind:?} {component}");
        }
        faults.iter().for_each(e2e::fault_proxy::Injected::remove);
        for kind in Kind::OUTSIDE.into_iter().filter(|kind| of_kind(*kind) == Trouble::LosesOne) {
            scene.rotate(kind, COMPONENTS[0]).await?;
        }
        scene.tenant.wait_ready("prod").await?;
    }
    Ok(())
}
