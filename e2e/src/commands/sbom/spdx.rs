//! Crates as a document of SPDX 2.3 (<https://spdx.github.io/spdx-spec/v2.3/>).

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::crates::{Crate, Crates, Id, Use};

/// The whole document. Its namespace, which must be unique, is made of its content.
pub(super) fn document(crates: &Crates, target: &str, created: Timestamp) -> Value {
    let packages: Vec<Value> = crates.all.iter().map(|(id, known)| package(id, known, *id == crates.root)).collect();
    let describes = relationship("SPDXRef-DOCUMENT", "DESCRIBES", &reference(&crates.root));
    let uses = crates.uses.iter().map(|(user, used, how)| match how {
        Use::Linked => relationship(&reference(user), "DEPENDS_ON", &reference(used)),
        Use::Building => relationship(&reference(used), "BUILD_DEPENDENCY_OF", &reference(user)),
    });
    let relationships: Vec<Value> = std::iter::once(describes).chain(uses).collect();
    let Id { name, version } = &crates.root;
    let content = json!([packages, relationships]).to_string();
    let digest: String = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let repository = env!("CARGO_PKG_REPOSITORY");
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{name}-{version}-{target}"),
        "documentNamespace": format!("{repository}/sbom/{version}/{target}/{digest}"),
        "creationInfo": {
            // SPDX allows whole seconds only.
            "created": created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "creators": [format!("Tool: {name}-sbom-{version}")],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

fn package(Id { name, version }: &Id, Crate { licence, checksum }: &Crate, is_root: bool) -> Value {
    let mut package = json!({
        "SPDXID": reference(&Id { name: name.clone(), version: version.clone() }),
        "name": name,
        "versionInfo": version,
        "downloadLocation": if is_root {
            format!("git+{}.git@v{version}", env!("CARGO_PKG_REPOSITORY"))
        } else {
            // The package URL below says which one it is, and the checksum that it is that one.
            "NOASSERTION".to_owned()
        },
        "filesAnalyzed": false,
        "primaryPackagePurpose": if is_root { "APPLICATION" } else { "LIBRARY" },
        "supplier": "NOASSERTION",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": licence.as_deref().unwrap_or("NOASSERTION"),
        "copyrightText": "NOASSERTION",
        // A plus sign would read as a space in a package URL.
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")),
        }],
    });
    if let (Some(checksum), Some(fields)) = (checksum, package.as_object_mut()) {
        fields.insert("checksums".to_owned(), json!([{"algorithm": "SHA256", "checksumValue": checksum}]));
    }
    package
}

/// An identifier, which has letters, digits, dots and dashes only.
fn reference(Id { name, version }: &Id) -> String {
    let word = format!("{name}-{version}");
    let word = word.replace(|character: char| !character.is_ascii_alphanumeric() && character != '.', "-");
    format!("SPDXRef-crate-{word}")
}

fn relationship(from: &str, how: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to})
}
