//! What is decided without a server.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

fn asked(name: &str, version: Option<&str>) -> Asked {
    Asked { name: name.to_owned(), version: version.map(str::to_owned) }
}

#[test]
fn batches_are_full_and_no_name_comes_twice_in_one() {
    let many: Vec<Asked> = (0..21).map(|number| asked(&format!("/a/{number:02}"), None)).collect();
    assert_eq!(batches(&many).iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 1]);
    let versions = [asked("/a", None), asked("/a", Some("1")), asked("/a", Some("prod")), asked("/b", Some("1"))];
    let found = batches(&versions);
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(batches(&[]).is_empty());
}

#[test]
fn an_answer_that_leaves_one_out_or_has_another_version_makes_no_sense() {
    let parameter = Parameter::builder().name("/a").version(2).value("x").r#type(ParameterType::SecureString).build();
    let answer = GetParametersOutput::builder().parameters(parameter).invalid_parameters("/gone").build();
    let all = vec![asked("/a", Some("1")), asked("/gone", None), asked("/forgotten", None)];
    let kinds: Vec<ErrorKind> = taken(all, answer).into_iter().map(|(_, result)| result.unwrap_err().kind).collect();
    assert_eq!(kinds, [ErrorKind::Unexpected, ErrorKind::NotFound, ErrorKind::Unexpected]);
}

#[test]
fn ciphertext_is_told_from_values() {
    let ciphertext = format!("AQICAHh{}", "x".repeat(150));
    for text in [ciphertext.as_str(), "kms:alias/aws/ssm:v", "kms:arn:aws:kms:us-east-1:1:key/2:v"] {
        assert!(is_wrapped(text), "{text}");
    }
    let spoken = format!("AQICAH {}", "x".repeat(150));
    for text in ["", "AQICAH", "AQICAHshort", "kms:", "kms:x", spoken.as_str()] {
        assert!(!is_wrapped(text), "{text}");
    }
}
