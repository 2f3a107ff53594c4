//! Rules of the schema as tables: per rule what the API server stores, and what it refuses with which words.

use crate::cluster::{Cluster, Kind};

/// One rule.
pub struct Rule {
    /// What users may rely on.
    pub says: &'static str,
    pub kind: Kind,
    /// Specs that are stored.
    pub accepts: &'static [&'static str],
    /// Specs that are refused, with the path of the field and the words.
    pub refuses: &'static [(&'static str, &'static str, &'static str)],
}

/// Tries every case of a table and fails with all that did not hold.
pub async fn check(rules: &[Rule]) {
    let cluster = Cluster::new().await.unwrap();
    let mut wrong = Vec::new();
    for rule in rules {
        for spec in rule.accepts {
            if let Err(refusal) = cluster.create(rule.kind, spec).await {
                wrong.push(format!("{}: should be stored: {spec}\n{refusal:?}", rule.says));
            }
        }
        for (spec, field, message) in rule.refuses {
            match cluster.create(rule.kind, spec).await {
                Ok(_) => wrong.push(format!("{}: should be refused: {spec}", rule.says)),
                Err(refusal) if refusal.is(field, message) => {}
                Err(refusal) => wrong.push(format!(
                    "{}: should be refused with\n  {field:?}, {message:?}\n{spec}\nbut was with {refusal:?}",
                    rule.says
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases did not hold:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
