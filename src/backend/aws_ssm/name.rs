//! What a key names: a parameter, and which of its versions.

use crate::backend::{Error, ErrorKind, Key};

/// Limits of a name: PutParameter,
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>.
const LONGEST_NAME: usize = 1011;
const MOST_LEVELS: usize = 15;
/// The longest label (LabelParameterVersion).
const LONGEST_LABEL: usize = 100;

/// A parameter, with the version that is wanted: `name`, `name:3` or `name:label`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub name: String,
    pub version: Option<String>,
}

impl Asked {
    /// What `key` asks for.
    pub(super) fn new(key: &Key) -> Result<Self, Error> {
        let Key { name, version } = key;
        name_rule(name).map_err(|rule| {
            Error::new(
                ErrorKind::InvalidKey,
                format!("`{}` cannot be the name of a parameter: {rule}", name.escape_debug()),
            )
        })?;
        if let Some(version) = version
            && !is_version(version)
        {
            let message = format!("cannot read the parameter {name}: a version is a number or a label");
            return Err(Error::new(ErrorKind::VersionNotFound, message));
        }
        Ok(Self { name: name.clone(), version: version.clone() })
    }

    /// As GetParameters takes it.
    pub(super) fn selector(&self) -> String {
        match &self.version {
            None => self.name.clone(),
            Some(version) => format!("{}:{version}", self.name),
        }
    }

    /// What is tried with it, for messages.
    pub(super) fn reading(&self) -> String {
        match &self.version {
            None => format!("read the parameter {}", self.name),
            Some(version) => format!("read version {version} of the parameter {}", self.name),
        }
    }
}

/// A number, or a label: letters, digits, `.`, `-` and `_`, not beginning with a digit, `aws` or `ssm`.
fn is_version(version: &str) -> bool {
    let is_number = !version.is_empty() && version.len() <= 18 && version.bytes().all(|byte| byte.is_ascii_digit());
    let is_label = (1..=LONGEST_LABEL).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && !version.starts_with(|first: char| first.is_ascii_digit())
        && !is_reserved(version);
    is_number || is_label
}

fn is_reserved(text: &str) -> bool {
    let start = text.get(..3).unwrap_or_default();
    start.eq_ignore_ascii_case("aws") || start.eq_ignore_ascii_case("ssm")
}

fn name_rule(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!("1 to {LONGEST_NAME} characters are allowed"));
    }
    if let Some(character) = name.chars().find(|character| !is_legal(*character)) {
        return Err(format!("`{}` is not allowed", character.escape_default()));
    }
    let inner = name.strip_prefix('/').unwrap_or(name);
    if inner.contains('/') && inner.len() == name.len() {
        return Err("a name with `/` must start with `/`".to_owned());
    }
    if inner.is_empty() {
        return Err("it has no level".to_owned());
    }
    if inner.split('/').count() > MOST_LEVELS {
        return Err(format!("it may have at most {MOST_LEVELS} levels"));
    }
    if is_reserved(inner) {
        return Err("it may not start with `aws` or `ssm`".to_owned());
    }
    Ok(())
}

/// Whether a name may have this character.
pub(super) fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '/' | '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, version: Option<&str>) -> Result<String, ErrorKind> {
        let key = Key { name: name.to_owned(), version: version.map(str::to_owned) };
        Asked::new(&key).map(|asked| asked.selector()).map_err(|error| error.kind)
    }

    #[test]
    fn names_are_told_from_what_is_none() {
        let deepest = "/x".repeat(15);
        for name in ["K", "/K", "/atmos/secrets/plat/ue1/prod/api/K", "/a.b-c_d/9", &deepest, "/a/aws"] {
            assert!(asked(name, None).is_ok(), "{name}");
        }
        let (deep, long) = ("/x".repeat(16), format!("/{}", "x".repeat(1011)));
        for name in ["", "/", "a/b", "/a b", "/a:1", "/aws/x", "/SSMx", "ssm", &deep, &long, "/ü"] {
            assert_eq!(asked(name, None), Err(ErrorKind::InvalidKey), "{name}");
        }
    }

    #[test]
    fn a_version_is_a_number_or_a_label() {
        assert_eq!(asked("/a", Some("3")).as_deref(), Ok("/a:3"));
        assert_eq!(asked("/a", Some("prod.v1_x-y")).as_deref(), Ok("/a:prod.v1_x-y"));
        for none in ["", "3x", "a:b", "a b", "awsome", "SSM", &"x".repeat(101), "1234567890123456789"] {
            assert_eq!(asked("/a", Some(none)), Err(ErrorKind::VersionNotFound), "{none}");
        }
    }
}
