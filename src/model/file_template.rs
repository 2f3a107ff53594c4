//! The `file` template of a sops store: literal text around `{{ atmos_stack }}` and `{{ atmos_component }}`.
//!
//! Atmos renders the same field as a Go template, so the form `{{ .atmos_stack }}` is read too. The set of variables is
//! closed: there are no functions and no other names.

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Stack,
    Component,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {column}: {message}")]
pub struct TemplateError {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What was expected.
    pub message: &'static str,
}

impl FileTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces that do not pair, or another name than the two variables.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut column = 1;
        while let Some((literal, tail)) = rest.split_once("{{") {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            column += literal.chars().count();
            let Some((inside, tail)) = tail.split_once("}}") else {
                return Err(TemplateError { column, message: "`{{` without `}}`" });
            };
            let name = inside.trim();
            pieces.push(match name.strip_prefix('.').unwrap_or(name) {
                "atmos_stack" => Piece::Stack,
                "atmos_component" => Piece::Component,
                _ => {
                    let message = "the variables are `{{ atmos_stack }}` and `{{ atmos_component }}`";
                    return Err(TemplateError { column, message });
                }
            });
            column += inside.chars().count() + 4;
            rest = tail;
        }
        if let Some((before, _)) = rest.split_once("}}") {
            return Err(TemplateError { column: column + before.chars().count(), message: "`}}` without `{{`" });
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The file's name. A `/` in stack or component becomes `.`, since files are keys of a ConfigMap or Secret.
    #[must_use]
    pub fn render(&self, stack: &str, component: &str) -> String {
        self.render_in_tree(&stack.replace('/', "."), &component.replace('/', "."))
    }

    /// The file's path in a tree, where a `/` in stack or component makes folders.
    #[must_use]
    pub fn render_in_tree(&self, stack: &str, component: &str) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => text.as_str(),
            Piece::Stack => stack,
            Piece::Component => component,
        });
        pieces.collect()
    }

    /// An expression for the paths of all files that the template makes, as Atmos writes it into `.sops.yaml`: literal text
    /// escaped, whatever a variable stands for, and the end of the path.
    #[must_use]
    pub fn path_regex(&self) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => escaped(text),
            Piece::Stack | Piece::Component => ".*".to_owned(),
        });
        pieces.chain(["$".to_owned()]).collect()
    }
}

/// The expression for the paths of a store's files that Atmos writes into `.sops.yaml`, and one such path. Without a template,
/// and for one that cannot be read, that is every path.
#[must_use]
pub fn store_file_regex(template: Option<&str>) -> (String, String) {
    match template.and_then(|template| FileTemplate::parse(template).ok()) {
        Some(template) => (template.path_regex(), template.render_in_tree("stack", "component")),
        None => ("$".to_owned(), "stack.component.enc.yaml".to_owned()),
    }
}

/// A text as an expression that matches it alone: what Go's `regexp.QuoteMeta` escapes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        if r"\.+*?()|[]{}^$".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn renders() {
        for (template, stack, component, file) in [
            ("{{ .atmos_stack }}.enc.yaml", "dev", "api", "dev.enc.yaml"),
            ("{{atmos_stack}}-{{  atmos_component  }}.yaml", "a/b", "net/vpc", "a.b-net.vpc.yaml"),
            ("all.enc.json", "dev", "api", "all.enc.json"),
            ("x{y}z", "dev", "api", "x{y}z"),
        ] {
            assert_eq!(FileTemplate::parse(template).unwrap().render(stack, component), file, "{template}");
        }
        let template = FileTemplate::parse("{{ atmos_stack }}.{{ .atmos_component }}.enc.yaml").unwrap();
        assert_eq!(template.render_in_tree("dev", "net/vpc"), "dev.net/vpc.enc.yaml");
    }

    /// Atmos's own vectors.
    #[test]
    fn paths_are_matched_as_atmos_does() {
        for (template, regex) in [
            ("secrets/{{ .atmos_stack }}.enc.yaml", r"secrets/.*\.enc\.yaml$"),
            ("secrets/{{ .atmos_stack }}/{{ .atmos_component }}.enc.yaml", r"secrets/.*/.*\.enc\.yaml$"),
            ("secrets/global.enc.yaml", r"secrets/global\.enc\.yaml$"),
        ] {
            assert_eq!(FileTemplate::parse(template).unwrap().path_regex(), regex);
        }
    }

    #[test]
    fn says_where_it_is_wrong() {
        for (template, column) in [
            ("a{{ b", 2),
            ("é{{ atmos_stack }}{{ env }}", 19),
            ("{{ atmos_stack }}}}", 18),
            ("{{ atmos_stack | lower }}", 1),
            ("{{}}", 1),
            ("{{ ..atmos_stack }}", 1),
        ] {
            assert_eq!(FileTemplate::parse(template).unwrap_err().column, column, "{template}");
        }
    }
}
