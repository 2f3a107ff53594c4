//! The CEL rules of the schema that more than one field has.
//!
//! The API server adds up an estimate of what each rule may cost (10 million for a rule, 100 million for a definition)
//! from the maxima of all strings, lists and maps around it, and refuses a definition above that; so every field has a
//! maximum, and no rule stands inside a list. A rule is evaluated even where a pattern of the same field failed: those
//! that convert text look at the pattern first, so that users see one message. A rule of a field is not evaluated where
//! the field is null. To the rules around it a null field is absent (`has` says so), a null entry of a map is null.
//! Source: <https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints>.

use kube::core::Rule;

/// What a Secret accepts as a key.
/// Source: `IsConfigMapKey` of <https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/validation.go>.
const SECRET_KEY: &str = "'^[-._a-zA-Z0-9]{1,253}$'";

/// Hours, minutes and seconds in this order. The counts of digits keep `duration()` from overflowing.
pub(super) const DURATION: &str = "^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$";

/// The keys of `vars`.
pub(super) fn names_of_secrets() -> Rule {
    every_key("name", SECRET_KEY).message("names of secrets are 1 to 253 letters, digits, '-', '_' or '.'")
}

/// The keys of a target's `keys`.
pub(super) fn keys_of_a_secret() -> Rule {
    every_key("key", SECRET_KEY).message("keys of a Secret are 1 to 253 letters, digits, '-', '_' or '.'")
}

/// The keys of `stores`: what Atmos accepts as the name of a store.
pub(super) fn aliases_of_stores() -> Rule {
    every_key("alias", "'^[A-Za-z0-9/_.-]{1,253}$'")
        .message("aliases of stores are 1 to 253 letters, digits, '/', '_', '.' or '-'")
}

/// The keys of `components`.
pub(super) fn types_of_components() -> Rule {
    every_key("type", "'^[A-Za-z0-9][-A-Za-z0-9_]{0,62}$'")
        .message("component types are 1 to 63 letters, digits, '-' or '_'")
}

/// The keys below a component type. Segments that could climb out of a path (empty, `.`, `..`) do not start with a
/// letter, a digit or `_`.
pub(super) fn names_of_components() -> Rule {
    Rule::new(
        "self.all(name, name.size() <= 253 && name.matches('^[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*$'))",
    )
    .message(
        "names of components are at most 253 letters, digits, '-', '_' or '.', in segments that '/' parts \
         and that start with a letter, a digit or '_'",
    )
}

/// The keys of `targets`: names of objects, which are DNS subdomains.
pub(super) fn names_of_targets() -> Rule {
    every_key("name", "'^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$'")
        .message("the keys of targets are Secret names: at most 253 lower-case letters, digits, '-' or '.'")
}

/// The keys of `labels` and `annotations` belong to the user's own domains.
pub(super) fn own_domains(what: &str) -> Rule {
    every_key_is(
        "!key.matches('^(secrets[.]atmos[.]tools|([^/]*[.])?kubernetes[.]io|([^/]*[.])?k8s[.]io)/') \
         || (key.startsWith('app.kubernetes.io/') && key != 'app.kubernetes.io/managed-by')",
    )
    .message(
        format!(
            "{what} of kubernetes.io, k8s.io and secrets.atmos.tools are not yours to set \
         (app.kubernetes.io is, but for managed-by)"
        )
        .as_str(),
    )
}

/// The keys of `labels` and `annotations` are such that Kubernetes accepts them.
/// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
pub(super) fn qualified_names(what: &str) -> Rule {
    every_key_is(
        "key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
    )
    .message(
        format!("keys of {what} are at most 63 letters, digits, '-', '_' or '.', after a DNS name and '/' if you like")
            .as_str(),
    )
}

/// A duration within bounds; `otherwise` is a condition that admits more.
pub(super) fn duration_between(otherwise: &str, shortest: &str, longest: &str, message: &str) -> Rule {
    Rule::new(format!(
        "self == '' || !self.matches('{DURATION}') || {otherwise}(duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}'))"
    ))
    .message(message)
}

fn every_key(called: &str, pattern: &str) -> Rule {
    Rule::new(format!("self.all({called}, {called}.matches({pattern}))"))
}

fn every_key_is(condition: &str) -> Rule {
    Rule::new(format!("self.all(key, {condition})"))
}
