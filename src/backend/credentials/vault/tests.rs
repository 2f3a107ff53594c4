//! What answers to a login mean, and what can be a token. Logins themselves are tried on a real Vault.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn every_answer_to_a_login_has_its_kind() {
    for (status, expected) in [
        (400, ErrorKind::Unauthenticated),
        (401, ErrorKind::Unauthenticated),
        (403, ErrorKind::Unauthenticated),
        (404, ErrorKind::InvalidConfig),
        (405, ErrorKind::InvalidConfig),
        (408, ErrorKind::Timeout),
        (412, ErrorKind::Unavailable),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
        (504, ErrorKind::Timeout),
        (302, ErrorKind::Unexpected),
    ] {
        let answer = Answer::new(status, r#"{"errors":["invalid secret id REMOTE"]}"#);
        let error = error::of_login(&answer, "log in to Vault at auth/approle");
        assert_eq!(error.kind, expected, "{status}");
        assert!(error.message.starts_with("cannot log in to Vault at auth/approle: "), "{}", error.message);
        assert!(!error.message.contains("REMOTE"));
    }
}

#[test]
fn an_unknown_token_is_told_from_a_missing_right() {
    // The words of Vault 1.21.1.
    let unknown = r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
    assert!(is_unknown_token(&Answer::new(403, unknown)));
    assert!(!is_unknown_token(&Answer::new(403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#)));
    assert!(!is_unknown_token(&Answer::new(403, "<html>invalid token</html>")));
    assert!(is_unknown_token(&Answer::new(401, "")));
}

#[test]
fn a_token_is_one_word_with_white_space_around_it() {
    let token = |text: &str| Token::new(&SecretValue::from(text.to_owned()), "VAULT_TOKEN");
    assert!(token(" hvs.abc-_./=\n").is_ok());
    for bad in ["", " \n", "two words", "line\nline", "grüße", "a\0b"] {
        let error = token(bad).err().unwrap();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::InvalidConfig, "VAULT_TOKEN is no token of Vault")
        );
    }
}
