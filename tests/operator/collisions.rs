//! Two declarations with one key in a store, and two targets with one name.

use atmos_secrets::api::status::READY;
use atmos_secrets::api::{Reason, StackStatus, marks};
use serde_json::json;

use crate::harness::{Grant, Tenant, condition, secret};

/// A Stack with one component that reads A from `atmos.<name>.<component>` and writes it to `target`.
fn spec(name: &str, component: &str, target: &str) -> String {
    format!(
        "{{name: {name}, defaultStore: app, components: {{terraform: {{{component}: {{secrets: {{vars: {{A: {{}}}}}}, targets: {{{target}: {{}}}}}}}}}}}}"
    )
}

fn target_reason(status: &StackStatus, name: &str) -> Option<Reason> {
    status.targets.iter().find(|target| target.name == name).unwrap().reason
}

#[tokio::test]
async fn two_names_may_share_a_backend_key() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [user, password] = [(); 2].map(|()| tenant.plain_canary());
    tenant.store("app", "kubernetes: {}").await?;
    let document = json!({"user": user, "password": password}).to_string();
    tenant.values("atmos.prod.db", &[("ACCOUNT", &document)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            db:
              secrets:
                vars:
                  USER: {backendKey: 'atmos.prod.db#ACCOUNT', path: .user}
                  PASSWORD: {backendKey: 'atmos.prod.db#ACCOUNT', path: .password}
                  ACCOUNT: {}";
    tenant.stack("prod", spec).await?;
    tenant.wait_ready("prod").await?;
    let all = secret(&[("USER", &user), ("PASSWORD", &password), ("ACCOUNT", &document)]);
    assert_eq!(tenant.secret("prod-db").await?, all);
    Ok(())
}

#[tokio::test]
async fn a_collision_inside_a_stack_is_an_error_of_both() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.prod.orders-db", &[("A", &value), ("B", &value)]).await?;
    let spec = "
        defaultStore: app
        components:
          terraform:
            orders-db: {secrets: {vars: {A: {}, B: {}}}, targets: {one: {}, only-b: {keys: {b: B}}}}
            orders_db: {secrets: {vars: {A: {}}}, targets: {two: {}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::PathCollision).await?;
    let message = &condition(&status, READY).unwrap().message;
    for part in ["component orders-db", "component orders_db", "`atmos.prod.orders-db#A`", "Store/app"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    let collided = status.secrets.iter().filter(|entry| entry.reason == Some(Reason::PathCollision)).count();
    assert_eq!(collided, 2);
    assert_eq!(tenant.secret("only-b").await?, secret(&[("b", &value)]));
    assert_eq!((tenant.secret("one").await?, tenant.secret("two").await?), (None, None));
    Ok(())
}

#[tokio::test]
async fn the_younger_of_two_colliding_stacks_yields_until_the_other_goes() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.plat-prod.db", &[("A", &first)]).await?;
    tenant.stack("older", &spec("plat-prod", "db", "of-older")).await?;
    tenant.wait_ready("older").await?;
    tenant.wait_older("older").await?;
    tenant.stack("younger", &spec("plat_prod", "db", "of-younger")).await?;
    let status = tenant.wait_reason("younger", Reason::PathCollision).await?;
    let message = &condition(&status, READY).unwrap().message;
    for part in ["stack plat_prod", "`atmos.plat-prod.db#A`", "the older Stack/older"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(tenant.secret("of-younger").await?, None);

    // The older one goes on.
    tenant.values("atmos.plat-prod.db", &[("A", &second)]).await?;
    tenant.wait_secret("of-older", secret(&[("A", &second)])).await?;
    tenant.wait_ready("older").await?;
    assert_eq!(tenant.secret("of-younger").await?, None);

    tenant.delete("Stack", "older").await?;
    tenant.wait_ready("younger").await?;
    assert_eq!(tenant.secret("of-younger").await?, secret(&[("A", &second)]));
    Ok(())
}

#[tokio::test]
async fn stacks_of_one_name_share_their_coordinates() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.plat-prod.db", &[("A", &value)]).await?;
    tenant.stack("one", &spec("plat-prod", "db", "of-one")).await?;
    tenant.stack("two", &spec("plat-prod", "db", "of-two")).await?;
    tenant.wait_ready("one").await?;
    tenant.wait_ready("two").await?;
    assert_eq!(tenant.secret("of-one").await?, secret(&[("A", &value)]));
    assert_eq!(tenant.secret("of-two").await?, secret(&[("A", &value)]));
    Ok(())
}

#[tokio::test]
async fn no_collision_is_computed_across_namespaces() -> anyhow::Result<()> {
    let (here, there) = (Tenant::new().await?, Tenant::new().await?);
    let [first, second] = [here.canary(), there.canary()];
    for (tenant, value, name) in [(&here, &first, "plat-prod"), (&there, &second, "plat_prod")] {
        tenant.store("app", "kubernetes: {}").await?;
        tenant.values("atmos.plat-prod.db", &[("A", value)]).await?;
        tenant.stack("prod", &spec(name, "db", "target")).await?;
    }
    here.wait_ready("prod").await?;
    there.wait_ready("prod").await?;
    assert_eq!(here.secret("target").await?, secret(&[("A", &first)]));
    assert_eq!(there.secret("target").await?, secret(&[("A", &second)]));
    Ok(())
}

#[tokio::test]
async fn a_target_named_twice_in_a_stack_is_written_by_neither() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let value = tenant.canary();
    tenant.store("app", "kubernetes: {}").await?;
    for object in ["atmos.prod.one", "atmos.prod.two"] {
        tenant.values(object, &[("A", &value)]).await?;
    }
    let spec = "
        defaultStore: app
        components:
          terraform:
            one: {secrets: {vars: {A: {}}}, targets: {same: {}, other: {}}}
            two: {secrets: {vars: {A: {}}}, targets: {same: {}}}";
    tenant.stack("prod", spec).await?;
    let status = tenant.wait_reason("prod", Reason::InvalidTarget).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("Secret same is a target of terraform/one and terraform/two"), "{message}");
    assert_eq!(tenant.secret("same").await?, None);
    assert_eq!(tenant.secret("other").await?, secret(&[("A", &value)]));
    Ok(())
}

#[tokio::test]
async fn of_two_stacks_that_want_one_target_the_older_gets_it() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    let spec = |required: bool| {
        format!(
            "{{defaultStore: app, components: {{terraform: {{db: {{secrets: {{vars: {{A: {{required: {required}}}, B: {{}}}}}}, targets: {{same: {{keys: {{a: A}}}}}}}}, rest: {{secrets: {{vars: {{B: {{}}}}}}}}}}}}}}"
        )
    };
    tenant.stack("older", &spec(true)).await?;
    tenant.wait_reason("older", Reason::ValueMissing).await?;
    tenant.wait_older("older").await?;
    tenant.values("atmos.younger.db", &[("A", &second)]).await?;
    tenant.values("atmos.younger.rest", &[("B", &second)]).await?;
    tenant.stack("younger", &spec(true)).await?;
    let status = tenant.wait_reason("younger", Reason::OwnerConflict).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("target same: the older Stack older writes a Secret of this name"), "{message}");
    assert_eq!(target_reason(&status, "same"), Some(Reason::OwnerConflict));
    assert_eq!(tenant.secret("same").await?, None);
    // The rest of the loser goes on.
    assert_eq!(tenant.secret("younger-rest").await?, secret(&[("B", &second)]));

    tenant.values("atmos.older.db", &[("A", &first)]).await?;
    tenant.wait_ready("older").await?;
    assert_eq!(tenant.secret("same").await?, secret(&[("a", &first)]));

    // When the older one goes, its Secret stays its own until somebody hands it over.
    tenant.delete("Stack", "older").await?;
    let says_whose =
        |status: &StackStatus| condition(status, READY).unwrap().message.contains("it belongs to Stack older");
    tenant.wait_status("younger", "the owner's name", says_whose).await?;
    assert_eq!(tenant.secret("same").await?, secret(&[("a", &first)]));
    tenant.patch_secret("same", json!({"metadata": {"annotations": {marks::ADOPT: "younger"}}})).await?;
    tenant.wait_ready("younger").await?;
    assert_eq!(tenant.secret("same").await?, secret(&[("a", &second)]));
    Ok(())
}

#[tokio::test]
async fn the_present_owner_of_a_target_keeps_it_though_it_is_younger() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second, third] = [(); 3].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.older.db", &[("A", &first)]).await?;
    tenant.values("atmos.younger.db", &[("A", &second)]).await?;
    tenant.stack("older", &spec("older", "db", "before")).await?;
    tenant.wait_ready("older").await?;
    tenant.wait_older("older").await?;
    tenant.stack("younger", &spec("younger", "db", "same")).await?;
    tenant.wait_ready("younger").await?;

    tenant.stack("older", &spec("older", "db", "same")).await?;
    let status = tenant.wait_reason("older", Reason::OwnerConflict).await?;
    let message = &condition(&status, READY).unwrap().message;
    assert!(message.contains("Secret same exists and it belongs to Stack younger"), "{message}");
    tenant.values("atmos.younger.db", &[("A", &third)]).await?;
    tenant.wait_secret("same", secret(&[("A", &third)])).await?;
    tenant.wait_ready("younger").await?;

    // A person may hand it over while both want it; then the former owner yields.
    tenant.patch_secret("same", json!({"metadata": {"annotations": {marks::ADOPT: "older"}}})).await?;
    tenant.wait_ready("older").await?;
    assert_eq!(tenant.secret("same").await?, secret(&[("A", &first)]));
    tenant.wait_reason("younger", Reason::OwnerConflict).await?;
    // And back, to the younger one.
    tenant.patch_secret("same", json!({"metadata": {"annotations": {marks::ADOPT: "younger"}}})).await?;
    tenant.wait_ready("younger").await?;
    assert_eq!(tenant.secret("same").await?, secret(&[("A", &third)]));
    tenant.wait_reason("older", Reason::OwnerConflict).await?;
    Ok(())
}

#[tokio::test]
async fn a_foreign_secret_goes_to_the_stack_that_it_is_handed_to_though_an_older_one_wants_it() -> anyhow::Result<()> {
    for grant in [Grant::Full, Grant::WithoutWatch] {
        let tenant = Tenant::granted(grant).await?;
        let [foreign, first, second] = [(); 3].map(|()| tenant.canary());
        tenant.store("app", "kubernetes: {}").await?;
        tenant.apply_secret("same", json!({}), "Opaque", &[("A", &foreign)]).await?;
        tenant.values("atmos.older.db", &[("A", &first)]).await?;
        tenant.values("atmos.younger.db", &[("A", &second)]).await?;
        tenant.stack("older", &spec("older", "db", "same")).await?;
        tenant.wait_reason("older", Reason::OwnerConflict).await?;
        tenant.wait_older("older").await?;
        tenant.stack("younger", &spec("younger", "db", "same")).await?;
        tenant.wait_reason("younger", Reason::OwnerConflict).await?;
        tenant.patch_secret("same", json!({"metadata": {"annotations": {marks::ADOPT: "younger"}}})).await?;
        if grant == Grant::WithoutWatch {
            tenant.sync("younger").await?;
        }
        tenant.wait_ready("younger").await?;
        assert_eq!(tenant.secret("same").await?, secret(&[("A", &second)]));
        // It stays so, whoever looks next.
        tenant.sync("older").await?;
        tenant.wait_reason("older", Reason::OwnerConflict).await?;
        tenant.sync("younger").await?;
        tenant.wait_ready("younger").await?;
        assert_eq!(tenant.secret("same").await?, secret(&[("A", &second)]));
    }
    Ok(())
}

#[tokio::test]
async fn an_older_stack_that_begins_to_collide_wins_until_it_ends_to() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.plat-prod.db", &[("A", &first)]).await?;
    tenant.values("atmos.plat-prod.other", &[("A", &first)]).await?;
    tenant.stack("older", &spec("plat-prod", "other", "of-older")).await?;
    tenant.wait_ready("older").await?;
    tenant.wait_older("older").await?;
    tenant.stack("younger", &spec("plat_prod", "db", "of-younger")).await?;
    tenant.wait_ready("younger").await?;

    tenant.stack("older", &spec("plat-prod", "db", "of-older")).await?;
    tenant.wait_reason("younger", Reason::PathCollision).await?;
    tenant.wait_ready("older").await?;
    tenant.values("atmos.plat-prod.db", &[("A", &second)]).await?;
    tenant.wait_secret("of-older", secret(&[("A", &second)])).await?;
    // What the younger one wrote before stays as it is.
    tenant.sync("younger").await?;
    assert_eq!(tenant.secret("of-younger").await?, secret(&[("A", &first)]));

    tenant.stack("older", &spec("plat-prod", "other", "of-older")).await?;
    tenant.wait_ready("younger").await?;
    assert_eq!(tenant.secret("of-younger").await?, secret(&[("A", &second)]));
    Ok(())
}

#[tokio::test]
async fn a_target_moves_to_another_stack_once_it_is_deleted() -> anyhow::Result<()> {
    let tenant = Tenant::new().await?;
    let [first, second] = [(); 2].map(|()| tenant.canary());
    tenant.store("app", "kubernetes: {}").await?;
    tenant.values("atmos.one.db", &[("A", &first)]).await?;
    tenant.values("atmos.two.db", &[("A", &second)]).await?;
    let one = |target: &str| {
        format!(
            "{{defaultStore: app, targetDefaults: {{deletionPolicy: Delete}}, components: {{terraform: {{db: {{secrets: {{vars: {{A: {{}}}}}}, targets: {{{target}: {{}}}}}}}}}}}}"
        )
    };
    tenant.stack("one", &one("moving")).await?;
    tenant.wait_ready("one").await?;
    tenant.stack("two", &spec("two", "db", "moving")).await?;
    tenant.wait_reason("two", Reason::OwnerConflict).await?;
    assert_eq!(tenant.secret("moving").await?, secret(&[("A", &first)]));
    tenant.stack("one", &one("staying")).await?;
    tenant.wait_ready("two").await?;
    assert_eq!(tenant.secret("moving").await?, secret(&[("A", &second)]));
    assert_eq!(tenant.secret("staying").await?, secret(&[("A", &first)]));
    Ok(())
}
