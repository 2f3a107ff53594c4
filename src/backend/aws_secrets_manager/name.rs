//! What a key names: a secret by its name or ARN, and which of its versions.

use crate::backend::{Error, ErrorKind, Key};

/// Characters of a name beside letters and digits, and how many it may have: CreateSecret,
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>.
const OTHER_CHARACTERS: &str = "/_+=.@-";
const LONGEST_NAME: usize = 512;
/// The random end of a full ARN: `-` and six characters.
const SUFFIX: usize = 7;
/// The label of the version that counts.
pub(super) const CURRENT: &str = "AWSCURRENT";
/// The label of the one before.
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";

/// A secret and one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    /// Name, ARN, or ARN without its random end.
    pub id: String,
    pub version: Wanted,
}

/// Which version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    Stage(String),
    Id(String),
}

impl Asked {
    /// What `key` asks a store in `region` for.
    pub(super) fn new(key: &Key, region: &str) -> Result<Self, Error> {
        let Key { name, version } = key;
        let checked = match name.starts_with("arn:") {
            true => arn_rule(name, region),
            false => name_rule(name),
        };
        checked.map_err(|rule| {
            Error::new(
                ErrorKind::InvalidKey,
                format!("`{}` cannot be the name of a secret: {rule}", name.escape_debug()),
            )
        })?;
        let version = match version.as_deref() {
            None => Wanted::Stage(CURRENT.to_owned()),
            Some(version) if is_id(version) => Wanted::Id(version.to_owned()),
            Some(stage) if (1..=256).contains(&stage.chars().count()) => Wanted::Stage(stage.to_owned()),
            Some(_) => {
                let message = format!("cannot read the secret {name}: a version is a staging label or a version id");
                return Err(Error::new(ErrorKind::VersionNotFound, message));
            }
        };
        Ok(Self { id: name.clone(), version })
    }

    /// Whether the version that counts is asked for.
    pub(super) fn is_current(&self) -> bool {
        self.version == Wanted::Stage(CURRENT.to_owned())
    }

    pub(super) fn is_arn(&self) -> bool {
        self.id.starts_with("arn:")
    }

    /// Whether an answer is about this secret.
    pub(super) fn is_named(&self, name: Option<&str>, arn: Option<&str>) -> bool {
        let whole = [name, arn].contains(&Some(&self.id));
        let partial = || {
            let rest = arn.and_then(|arn| arn.strip_prefix(&self.id))?;
            Some(rest.len() == SUFFIX && rest.starts_with('-'))
        };
        whole || (self.is_arn() && partial() == Some(true))
    }

    /// How a replica in `region` calls the secret: its ARN names its own region.
    pub(super) fn id_in(&self, region: &str) -> String {
        if !self.is_arn() {
            return self.id.clone();
        }
        let mut parts: Vec<&str> = self.id.splitn(7, ':').collect();
        if let Some(part) = parts.get_mut(3) {
            *part = region;
        }
        parts.join(":")
    }

    /// What is tried with it, for messages.
    pub(super) fn reading(&self) -> String {
        match &self.version {
            Wanted::Stage(stage) if stage == CURRENT => format!("read the secret {}", self.id),
            Wanted::Stage(version) | Wanted::Id(version) => format!("read version {version} of the secret {}", self.id),
        }
    }
}

/// Version ids have 32 to 64 characters (`ClientRequestToken`), usually those of a UUID. A label that looks like that is
/// not found.
fn is_id(version: &str) -> bool {
    (32..=64).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn name_rule(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!("1 to {LONGEST_NAME} characters are allowed"));
    }
    match name.chars().find(|character| !is_legal(*character)) {
        Some(character) => Err(format!("`{}` is not allowed", character.escape_default())),
        None => Ok(()),
    }
}

/// Whether a name may have this character.
pub(super) fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || OTHER_CHARACTERS.contains(character)
}

/// `arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-a1b2c3`, with or without the last seven characters.
fn arn_rule(arn: &str, region: &str) -> Result<(), String> {
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    let &[_arn, _partition, "secretsmanager", its_region, account, "secret", name] = parts.as_slice() else {
        return Err("an ARN has the form arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME".to_owned());
    };
    if its_region != region {
        return Err(format!("it is in another region than the store, which is in {region}"));
    }
    if account.is_empty() || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its account is no number".to_owned());
    }
    name_rule(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-a1b2c3";

    fn asked(name: &str, version: Option<&str>) -> Result<Asked, ErrorKind> {
        let key = Key { name: name.to_owned(), version: version.map(str::to_owned) };
        Asked::new(&key, "us-east-1").map_err(|error| error.kind)
    }

    #[test]
    fn names_and_arns_are_told_from_what_is_none() {
        let longest = "x".repeat(512);
        for name in ["a", "/prod/api/K", "a+b=c@d.e-f_g", &longest, ARN, ARN.strip_suffix("-a1b2c3").unwrap_or("")] {
            assert!(asked(name, None).is_ok(), "{name}");
        }
        let long = "x".repeat(513);
        for name in [
            "",
            "a b",
            "a:b",
            "ü",
            &long,
            "arn:aws:ssm:us-east-1:123456789012:secret:a",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a",
            "arn:aws:secretsmanager:us-east-1:me:secret:a",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:a:b",
            "arn:",
        ] {
            assert_eq!(asked(name, None), Err(ErrorKind::InvalidKey), "{name}");
        }
    }

    #[test]
    fn a_version_is_an_id_or_a_stage() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(asked("a", Some(id)).map(|asked| asked.version), Ok(Wanted::Id(id.to_owned())));
        for stage in ["AWSPREVIOUS", "AWSPENDING", "blue", &"x".repeat(40)] {
            assert_eq!(asked("a", Some(stage)).map(|asked| asked.version), Ok(Wanted::Stage(stage.to_owned())));
        }
        assert!(asked("a", None).is_ok_and(|asked| asked.is_current()));
        assert!(asked("a", Some("AWSCURRENT")).is_ok_and(|asked| asked.is_current()));
        for none in [String::new(), "x".repeat(257)] {
            assert_eq!(asked("a", Some(&none)), Err(ErrorKind::VersionNotFound));
        }
    }

    #[test]
    fn an_answer_is_told_by_name_or_arn() {
        let is_named =
            |id: &str, name: &str, arn: &str| asked(id, None).is_ok_and(|a| a.is_named(Some(name), Some(arn)));
        assert!(is_named("app/db", "app/db", ARN));
        assert!(is_named(ARN, "app/db", ARN));
        assert!(is_named("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db", "app/db", ARN));
        assert!(!is_named("app", "app/db", ARN));
        assert!(!is_named("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/d", "app/db", ARN));
        assert!(!is_named("arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-a1", "app/db", ARN));
    }

    #[test]
    fn a_replica_has_an_arn_of_its_own() {
        let asked = asked(ARN, None).map(|asked| asked.id_in("eu-west-1"));
        assert_eq!(asked, Ok("arn:aws:secretsmanager:eu-west-1:123456789012:secret:app/db-a1b2c3".to_owned()));
    }
}
