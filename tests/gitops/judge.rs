//! What Argo CD and Flux make of an object of ours, as they look at it.

use mlua::{Lua, LuaOptions, LuaSerdeExt as _, SerializeOptions, StdLib, Table};
use serde_json::Value;

/// The script as people put it into Argo CD.
pub const SCRIPT: &str = include_str!("../../examples/gitops/argocd/health.lua");

/// Argo CD's health of an object: the word, and the message shown with it.
///
/// Argo CD runs a script with the object in the global `obj`, and without Lua's libraries but for those of tables and,
/// cut down, of time: <https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go>. An absent field is nil to it.
pub fn argocd(object: &Value) -> (String, String) {
    let lua = Lua::new_with(StdLib::TABLE, LuaOptions::default()).unwrap();
    let as_argocd = SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    lua.globals().set("obj", lua.to_value_with(object, as_argocd).unwrap()).unwrap();
    let health: Table = lua.load(SCRIPT).eval().unwrap();
    let (status, message): (String, String) = (health.get("status").unwrap(), health.get("message").unwrap());
    let known = ["Healthy", "Progressing", "Suspended", "Degraded"];
    assert!(known.contains(&status.as_str()), "Argo CD knows no health {status}");
    assert!(!message.is_empty(), "{status} without a message: {object}");
    (status, message)
}

/// What Flux's health checks say of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flux {
    /// Flux goes on.
    Current,
    /// Flux waits, until its timeout.
    InProgress,
    /// Flux gives up at once.
    Failed,
}

/// The rules of kstatus for kinds that it does not know:
/// <https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>.
pub fn flux(object: &Value) -> Flux {
    let status = &object["status"];
    let observed = &status["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return Flux::InProgress;
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let word = |type_: &str| {
        conditions.iter().find(|condition| condition["type"] == type_).map(|condition| condition["status"].clone())
    };
    if word("Reconciling").is_some_and(|word| word == "True") {
        return Flux::InProgress;
    }
    if word("Stalled").is_some_and(|word| word == "True") {
        return Flux::Failed;
    }
    match word("Ready") {
        // An object without any condition is taken for finished.
        None => Flux::Current,
        Some(word) if word == "True" => Flux::Current,
        Some(_) => Flux::InProgress,
    }
}
