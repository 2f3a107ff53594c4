//! What a key asks for: a secret of the project, and one of its versions.

use crate::backend::{Error, ErrorKind, Key};

/// The longest name (`secretId` of `projects.secrets.create`).
const LONGEST: usize = 255;
/// The longest alias of a version (<https://cloud.google.com/secret-manager/docs/assign-alias-to-secret-version>).
const LONGEST_ALIAS: usize = 63;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    /// The secret's name in the project.
    pub(super) id: String,
    pub(super) wanted: Wanted,
}

/// Which version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// The one that was added last.
    Latest,
    /// By its number, as the service writes it.
    Number(String),
    /// By a name that somebody gave it.
    Alias(String),
}

impl Asked {
    pub(super) fn new(key: &Key) -> Result<Self, Error> {
        let Key { name, version } = key;
        let length = name.chars().count();
        let illegal = name.chars().find(|character| !is_legal(*character));
        let rule = match illegal {
            Some(character) => Some(format!("`{}` is not allowed", character.escape_default())),
            None if length == 0 || length > LONGEST => Some(format!("1 to {LONGEST} characters are allowed")),
            None => None,
        };
        if let Some(rule) = rule {
            let message = format!("{name:?} cannot be the name of a secret: {rule}");
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        let wanted = match version.as_deref() {
            None | Some("latest") => Wanted::Latest,
            Some(version) => wanted(version).ok_or_else(|| {
                let message = format!("the secret {name} has no version {version:?}: versions are numbers or aliases");
                Error::new(ErrorKind::VersionNotFound, message)
            })?,
        };
        Ok(Self { id: name.clone(), wanted })
    }

    pub(super) fn is_current(&self) -> bool {
        self.wanted == Wanted::Latest
    }

    /// The version's resource, below the project.
    pub(super) fn path(&self) -> String {
        format!("secrets/{}/versions/{}", self.id, self.version())
    }

    pub(super) fn version(&self) -> &str {
        match &self.wanted {
            Wanted::Latest => "latest",
            Wanted::Number(version) | Wanted::Alias(version) => version,
        }
    }

    /// The number in a version's full name, `projects/123/secrets/a/versions/7`; `None` if it is not the one asked for. The
    /// project is named by its number there, whatever it was asked by.
    pub(super) fn version_in(&self, full: &str) -> Option<String> {
        let parts: Vec<&str> = full.split('/').collect();
        let &["projects", _, "secrets", id, "versions", number] = parts.as_slice() else { return None };
        let is_wanted = match &self.wanted {
            Wanted::Number(wanted) => wanted == number,
            Wanted::Latest | Wanted::Alias(_) => true,
        };
        (id == self.id && is_number(number) && is_wanted).then(|| number.to_owned())
    }
}

fn wanted(version: &str) -> Option<Wanted> {
    if is_number(version) {
        return Some(Wanted::Number(version.to_owned()));
    }
    let starts = version.starts_with(|first: char| first.is_ascii_alphabetic());
    (starts && version.len() <= LONGEST_ALIAS && version.chars().all(is_legal))
        .then(|| Wanted::Alias(version.to_owned()))
}

/// A number from 1 on as the service writes it.
fn is_number(text: &str) -> bool {
    !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// Whether a name may have this character.
pub(super) fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, version: Option<&str>) -> Result<Asked, ErrorKind> {
        Asked::new(&Key { name: name.into(), version: version.map(str::to_owned) }).map_err(|error| error.kind)
    }

    #[test]
    fn names_are_those_that_the_service_takes() {
        let longest = "x".repeat(255);
        for name in ["a", "_", "-", "prod_api_DB-PASSWORD", "9", &longest] {
            assert!(asked(name, None).is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        for name in ["", "a b", "a/b", "a.b", "a:access", "ü", "..", "a?b", "a\n", &long] {
            assert_eq!(asked(name, None), Err(ErrorKind::InvalidKey), "{name}");
        }
    }

    #[test]
    fn a_version_is_a_number_an_alias_or_the_latest() {
        let wanted = |version| asked("a", version).map(|asked| asked.wanted);
        assert_eq!(wanted(None), Ok(Wanted::Latest));
        assert_eq!(wanted(Some("latest")), Ok(Wanted::Latest));
        assert_eq!(wanted(Some("12")), Ok(Wanted::Number("12".into())));
        let longest = "x".repeat(63);
        for alias in ["prod", "A_b-9", &longest] {
            assert_eq!(wanted(Some(alias)), Ok(Wanted::Alias(alias.into())));
        }
        let long = "x".repeat(64);
        for none in ["", "0", "007", "1a", "-1", "a/b", "a:access", "99999999999999999999", &long] {
            assert_eq!(wanted(Some(none)), Err(ErrorKind::VersionNotFound), "{none}");
        }
    }

    #[test]
    fn an_answer_is_told_by_its_name() {
        let number = |version, full: &str| asked("a", version).ok().and_then(|asked| asked.version_in(full));
        assert_eq!(number(None, "projects/123/secrets/a/versions/7").as_deref(), Some("7"));
        assert_eq!(number(Some("prod"), "projects/p/secrets/a/versions/7").as_deref(), Some("7"));
        assert_eq!(number(Some("7"), "projects/p/secrets/a/versions/7").as_deref(), Some("7"));
        for (version, full) in [
            (Some("6"), "projects/p/secrets/a/versions/7"),
            (None, "projects/p/secrets/b/versions/7"),
            (None, "projects/p/secrets/a/versions/latest"),
            (None, "projects/p/secrets/a"),
            (None, ""),
        ] {
            assert_eq!(number(version, full), None, "{full}");
        }
    }
}
