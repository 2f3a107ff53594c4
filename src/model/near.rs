//! The nearest of the known names to one that was mistyped.

/// The name that a person probably meant; `None` if none is near.
#[must_use]
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        // Letters added, dropped, changed or swapped with their neighbour.
        .map(|name| (strsim::osa_distance(&given.to_lowercase(), &name.to_lowercase()), name))
        // A third of the letters may be wrong, at least one, as rustc has it for identifiers.
        .filter(|(distance, _)| *distance <= (given.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["DB_PASSWORD", "DB_USER", "API_KEY"];
        for (given, meant) in [
            ("DB_PASWORD", Some("DB_PASSWORD")),
            ("db_user", Some("DB_USER")),
            ("API_KYE", Some("API_KEY")),
            ("UNRELATED", None),
        ] {
            assert_eq!(nearest(given, known.into_iter()), meant, "{given}");
        }
    }
}
