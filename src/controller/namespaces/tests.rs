//! Whose news a change of a Secret is.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::PartialObjectMeta;
use kube::core::{ObjectMeta, PartialObjectMetaExt};

use super::attend::is_loss;
use super::*;
use crate::api::marks;

fn owned_by(stack: &str, version: &str) -> PartialObjectMeta<Secret> {
    let mark = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
    let meta = ObjectMeta {
        name: Some("target".to_owned()),
        resource_version: Some(version.to_owned()),
        labels: mark(marks::MANAGED, "true"),
        annotations: mark(marks::STACK, stack),
        ..ObjectMeta::default()
    };
    meta.into_response_partial()
}

/// A namespace that is watched, and whom it told of changes since the last look.
fn watched() -> (Namespace, mpsc::UnboundedSender<Change>, impl FnMut() -> Vec<String>) {
    let watching = Grant { secrets: Access::Watching, config_maps: Access::Watching };
    let namespace = Namespace {
        name: "payments".into(),
        grant: watch::Sender::new(watching),
        probe: Notify::new(),
        stop: CancellationToken::new(),
        state: Mutex::default(),
    };
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let told = move || {
        let mut owners = Vec::new();
        while let Ok(Change::Secret { owner, .. }) = receiver.try_recv() {
            owners.extend(owner.map(String::from));
        }
        owners
    };
    (namespace, sender, told)
}

#[tokio::test]
async fn our_own_write_is_news_only_to_a_former_owner() {
    let (namespace, sender, mut told) = watched();
    namespace.begin_write("target");
    namespace.take_secret(&owned_by("first", "1"), &sender);
    namespace.take_secret(&owned_by("first", "2"), &sender);
    assert_eq!(told(), Vec::<String>::new());
    namespace.take_secret(&owned_by("second", "3"), &sender);
    assert_eq!(told(), ["second", "first"]);
    namespace.end_write("target", "second", Some("3"));
    namespace.take_secret(&owned_by("second", "4"), &sender);
    assert_eq!(told(), ["second"]);
}

#[tokio::test]
async fn our_own_write_is_no_news_when_its_event_comes_after_the_answer() {
    let (namespace, sender, mut told) = watched();
    namespace.begin_write("target");
    assert!(!namespace.end_write("target", "first", Some("10")));
    assert!(matches!(namespace.sight("target"), Sight::Ours(seen) if &*seen.resource_version == "10"));
    namespace.take_secret(&owned_by("first", "9"), &sender);
    namespace.take_secret(&owned_by("first", "10"), &sender);
    assert_eq!(told(), Vec::<String>::new(), "what we overwrote, and what we wrote");
    namespace.take_secret(&owned_by("first", "11"), &sender);
    assert_eq!(told(), ["first"], "what somebody else wrote after us");
    // Taken over by another Stack: the former owner is told by the event.
    namespace.begin_write("target");
    assert!(!namespace.end_write("target", "second", Some("12")));
    namespace.take_secret(&owned_by("second", "12"), &sender);
    assert_eq!(told(), ["second", "first"]);
}

#[tokio::test]
async fn a_secret_that_went_while_we_wrote_it_is_not_taken_for_present() {
    let (namespace, sender, mut told) = watched();
    namespace.begin_write("target");
    namespace.take_secret(&owned_by("first", "10"), &sender);
    namespace.drop_secret(&owned_by("first", "11"), &sender);
    namespace.end_write("target", "first", Some("10"));
    assert_eq!((namespace.sight("target"), told()), (Sight::NotOurs, vec!["first".to_owned()]));
    // The end of a predecessor that the watch tells late is none of ours.
    namespace.begin_write("target");
    namespace.end_write("target", "first", Some("20"));
    namespace.drop_secret(&owned_by("first", "15"), &sender);
    assert!(matches!(namespace.sight("target"), Sight::Ours(_)));
    assert_eq!(told(), Vec::<String>::new());
    namespace.drop_secret(&owned_by("first", "21"), &sender);
    assert_eq!((namespace.sight("target"), told()), (Sight::NotOurs, vec!["first".to_owned()]));
}

#[tokio::test]
async fn marks_that_somebody_removed_while_we_wrote_are_gone() {
    let (namespace, sender, mut told) = watched();
    namespace.begin_write("target");
    namespace.take_secret(&owned_by("first", "10"), &sender);
    let mut bare = owned_by("first", "11");
    bare.metadata.labels = None;
    namespace.take_secret(&bare, &sender);
    namespace.end_write("target", "first", Some("10"));
    assert_eq!((namespace.sight("target"), told()), (Sight::NotOurs, vec!["first".to_owned()]));
}

#[tokio::test]
async fn a_list_during_a_write_leaves_the_last_word_to_the_watch() {
    let (namespace, sender, mut told) = watched();
    namespace.begin_write("target");
    namespace.take_list(HashMap::new(), HashSet::new(), &sender);
    namespace.end_write("target", "first", Some("10"));
    assert_eq!(namespace.sight("target"), Sight::NotOurs);
    namespace.take_secret(&owned_by("first", "10"), &sender);
    assert_eq!(told(), ["first"]);
}

#[tokio::test]
async fn a_list_names_everything_and_says_whether_anybody_may_rely_on_an_earlier_one() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let (namespace, _, _) = watched();
    for (access, again) in [(Access::Probing, false), (Access::Denied, false), (Access::Watching, true)] {
        namespace.grant.send_replace(Grant { secrets: access, config_maps: Access::Watching });
        let names = HashSet::from(["target".into()]);
        namespace.tell_list(Kind::Secrets, names.clone(), &sender);
        let told = Change::Listed { namespace: Arc::clone(&namespace.name), kind: Kind::Secrets, names, again };
        assert_eq!(receiver.recv().await, Some(told), "{access:?}");
    }
}

/// A Secret of a Stack may be a source, too: a person can label it so.
#[tokio::test]
async fn a_list_tells_that_a_secret_of_ours_which_holds_values_is_another_version() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let (namespace, _, _) = watched();
    let mut values = owned_by("first", "1");
    values.labels_mut().insert(marks::VALUES.to_owned(), "true".to_owned());
    namespace.take_secret(&values, &sender);
    assert!(matches!(receiver.try_recv(), Ok(Change::Secret { values: true, .. })));
    let later = Seen { resource_version: "2".into(), stack: "first".into() };
    namespace.take_list(HashMap::from([("target".into(), later)]), HashSet::from(["target".into()]), &sender);
    assert!(matches!(receiver.try_recv(), Ok(Change::Secret { values: true, .. })));
}

/// An API server that answers questions about rights, by their number.
fn answering(allowed: impl Fn(usize) -> bool + Send + Sync + 'static) -> Client {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let allowed = Arc::new(move || allowed(asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst)));
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
        let allowed = Arc::clone(&allowed);
        async move {
            let review = serde_json::json!({"spec": {}, "status": {"allowed": allowed()}});
            Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
                review.to_string().into_bytes(),
            )))
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn rights_that_come_during_the_question_are_found_at_once() {
    let (namespace, sender, _) = watched();
    namespace.grant.send_replace(Grant { secrets: Access::Probing, config_maps: Access::Probing });
    let namespace = Arc::new(namespace);
    let asker = Arc::clone(&namespace);
    // Granted, and told to look, after the first question was decided and before its answer arrived.
    let client = answering(move |number| {
        if number == 0 {
            asker.probe_again();
        }
        number == 1
    });
    let started = tokio::time::Instant::now();
    let mut grant = namespace.grant.subscribe();
    tokio::select! {
        () = namespace.attend(Kind::Secrets, client, sender) => {}
        _ = grant.wait_for(|grant| grant.secrets == Access::GetOnly) => {}
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[test]
fn versions_compare_as_numbers() {
    assert!(is_newer("1000", "999"));
    assert!(!is_newer("999", "1000"));
    assert!(!is_newer("7", "7"));
    assert!(is_newer("b", "a"));
    assert!(is_older("999", "1000") && !is_older("7", "7") && !is_older("a", "b"));
}

#[test]
fn fewer_rights_than_at_the_last_look_are_a_loss() {
    let losses =
        [(Access::Watching, Access::GetOnly), (Access::Watching, Access::Denied), (Access::GetOnly, Access::Denied)];
    for before in [Access::Probing, Access::Watching, Access::GetOnly, Access::Denied] {
        for now in [Access::Watching, Access::GetOnly, Access::Denied] {
            assert_eq!(is_loss(before, now), losses.contains(&(before, now)), "{before:?} to {now:?}");
        }
    }
}
