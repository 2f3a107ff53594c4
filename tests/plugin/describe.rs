//! `describe`.

use crate::fixture::Fixture;
use crate::list::payments;

#[tokio::test]
async fn a_stack_with_its_secrets_and_targets() {
    let fixture = Fixture::new("describe").await;
    payments(&fixture).await;
    let expected = format!(
        "\
Name:         prod
Namespace:    {}
Stack:        plat-ue1-prod
Ready:        False (ValueMissing)
Message:      1 required secret has no value: terraform/db PASSWORD
Secrets
  COMPONENT      SECRET     REQUIRED   SCOPE      ORIGIN      STATUS        BACKEND KEY
  *              API_KEY    no         stack      stack       initialized   Store/app atmos.plat-ue1-prod#API_KEY
  *              CA         no         global     stack       unknown       Store/app atmos#CA
  terraform/db   PASSWORD   yes        instance   component   missing       Store/app atmos.plat-ue1-prod.db#PASSWORD
  terraform/db   USER       no         instance   component   initialized   Store/app atmos.plat-ue1-prod.db#USER
  terraform/db PASSWORD: ValueMissing: no value at atmos.plat-ue1-prod.db#PASSWORD
Targets
  SECRET    COMPONENT      READY   REASON
  prod-db   terraform/db   no      ValueMissing
  prod-db: waits for PASSWORD
",
        fixture.namespace
    );
    fixture.run(&["describe"]).await.is(0, &expected, "");
}

#[tokio::test]
async fn one_secret() {
    let fixture = Fixture::new("describe").await;
    payments(&fixture).await;
    let expected = format!(
        "\
Name:         API_KEY
Description:  for all
Namespace:    {}
Stack:        plat-ue1-prod
Component:    *
Scope:        stack: one value for all components of this stack
Origin:       stack
Required:     no
Store:        Store/app
Backend key:  atmos.plat-ue1-prod#API_KEY
Version:      7
Status:       initialized
Targets:      prod-db, prod-web
",
        fixture.namespace
    );
    fixture.run(&["describe", "API_KEY"]).await.is(0, &expected, "");
    fixture.run(&["describe", "PASWORD", "-c", "db"]).await.is(
        2,
        "",
        &format!(
            "error: NotDeclared: PASWORD is not declared in component terraform/db of Stack {}/prod\nhint: did you mean PASSWORD?\n",
            fixture.namespace
        ),
    );
    let as_json = fixture.run(&["describe", "PASSWORD", "-o", "json"]).await.json();
    assert_eq!(as_json[0]["backendKey"], "atmos.plat-ue1-prod.db#PASSWORD");
    let as_json = fixture.run(&["describe", "-o", "json"]).await.json();
    assert_eq!((&as_json["reason"], as_json["secrets"].as_array().map(Vec::len)), (&"ValueMissing".into(), Some(4)));
}

#[tokio::test]
async fn several_stacks_need_a_name() {
    let fixture = Fixture::new("describe").await;
    payments(&fixture).await;
    fixture.stack("other", serde_json::json!({"name": "plat-ue1-dev"})).await;
    fixture.run(&["describe"]).await.is(
        2,
        "",
        &format!(
            "error: there are several Stacks in namespace {}\nhint: name one with -s or ATMOS_STACK: other, prod\n",
            fixture.namespace
        ),
    );
    assert_eq!(fixture.run(&["describe", "-s", "other"]).await.code, 0);
    let fixture = fixture.with_variable("ATMOS_STACK", "plat-ue1-prod");
    assert_eq!(fixture.run(&["describe", "API_KEY"]).await.code, 0);
}
