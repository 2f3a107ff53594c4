//! What fuzzing has found: inputs for which a property of the fuzz targets once did not hold.

use crate::sops::{CreationRules, Encrypted, Format, Plain};
use crate::value::SecretValue;

#[path = "../../../fuzz/properties.rs"]
mod properties;

#[test]
fn a_comment_of_an_ini_file_keeps_signs_of_its_own() {
    for text in ["; #f the\na = b\n", "# ;f\na = b\n", "; one\n# #two\n;;three\na = b\n", "a = b ; #c\n", "[s] # ;c\n"] {
        properties::file(Format::Ini, text.as_bytes());
    }
    let plain = Plain::parse(Format::Ini, &SecretValue::from("; #f the\na = b\n".to_owned())).unwrap();
    assert_eq!(plain.to_file().unwrap().expose(), b"; #f the\n[DEFAULT]\na = b\n");
}
