//! A subset of Go's templates, for `--format`: text, `{{.Name}}`, `{{.A.B}}`, `{{.}}`, `{{json …}}` and
//! `{{range .A}}…{{end}}`; `\t` and `\n` as Docker takes them.

use serde_json::Value;
use std::collections::BTreeMap;

/// What cannot be printed with a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Not of the subset.
    #[error(
        "--format: {0:?} is not understood: text, {{{{.Name}}}}, {{{{.A.B}}}}, {{{{json .Name}}}} and \
         {{{{range .A}}}}…{{{{end}}}} are"
    )]
    Syntax(String),
    /// Nothing to go through.
    #[error("--format: {0:?} is neither a list nor an object to range over")]
    NoList(String),
    /// No such field.
    #[error("--format: there is no field {field:?}: there are {known}")]
    UnknownField {
        /// The field as it was asked for.
        field: String,
        /// Those that there are.
        known: String,
    },
}

/// A parsed template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field {
        path: Vec<String>,
        json: bool,
    },
    /// For each that a list or an object has, in order.
    Range {
        path: Vec<String>,
        each: Vec<Part>,
    },
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// At the first thing that is not of the subset.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        // What stood before each range that is open, and what it goes through.
        let mut open: Vec<(Vec<Part>, Vec<String>)> = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let syntax = || TemplateError::Syntax(format!("{{{{{after}"));
            let (action, after) = after.split_once("}}").ok_or_else(syntax)?;
            let words: Vec<&str> = action.split_ascii_whitespace().collect();
            let wrong = || TemplateError::Syntax(format!("{{{{{action}}}}}"));
            match words[..] {
                ["range", field] => {
                    let path = path(field).ok_or_else(wrong)?;
                    open.push((std::mem::take(&mut parts), path));
                }
                ["end"] => {
                    let (outer, path) = open.pop().ok_or_else(wrong)?;
                    let each = std::mem::replace(&mut parts, outer);
                    parts.push(Part::Range { path, each });
                }
                ["json", field] => {
                    let path = path(field).ok_or_else(wrong)?;
                    parts.push(Part::Field { path, json: true });
                }
                [field] => {
                    let path = path(field).ok_or_else(wrong)?;
                    parts.push(Part::Field { path, json: false });
                }
                _ => return Err(wrong()),
            }
            rest = after;
        }
        if !open.is_empty() {
            return Err(TemplateError::Syntax("{{range …}} without its {{end}}".to_owned()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// One object as text.
    ///
    /// # Errors
    /// When it has no such field.
    pub(crate) fn render(&self, object: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        render(&self.0, object, &mut out)?;
        Ok(out)
    }
}

fn render(parts: &[Part], object: &Value, out: &mut String) -> Result<(), TemplateError> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field { path, json } => match find(object, path)? {
                Value::String(text) if !json => out.push_str(text),
                Value::Null if !json => {}
                value => out.push_str(&value.to_string()),
            },
            Part::Range { path, each } => match find(object, path)? {
                Value::Array(items) => {
                    items.iter().try_for_each(|item| render(each, item, out))?;
                }
                Value::Object(fields) => {
                    // As Go, by their keys.
                    let fields: BTreeMap<_, _> = fields.iter().collect();
                    fields.values().try_for_each(|field| render(each, field, out))?;
                }
                Value::Null => {}
                _ => return Err(TemplateError::NoList(format!(".{}", path.join(".")))),
            },
        }
    }
    Ok(())
}

/// `.A.B`, or `.` for the whole.
fn path(field: &str) -> Option<Vec<String>> {
    let path = match field.strip_prefix('.')? {
        "" => Vec::new(),
        path => path.split('.').map(str::to_owned).collect(),
    };
    (!path.iter().any(String::is_empty)).then_some(path)
}

fn find<'a>(object: &'a Value, path: &[String]) -> Result<&'a Value, TemplateError> {
    let mut value = object;
    for name in path {
        value = value.get(name).ok_or_else(|| TemplateError::UnknownField {
            field: format!(".{}", path.join(".")),
            known: match value {
                Value::Object(fields) if !fields.is_empty() => {
                    let mut known: Vec<_> = fields.keys().map(|key| format!(".{key}")).collect();
                    known.sort_unstable();
                    known.join(" ")
                }
                _ => "none below it".to_owned(),
            },
        })?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, TemplateError> {
        let object = json!({"Name": "web", "N": 3, "A": {"B": [1, "x"]}, "None": null,
            "L": [[1, 2], [3]], "O": {"z": {"Name": "a"}, "y": {"Name": "b"}}});
        Template::parse(template)?.render(&object)
    }

    #[test]
    fn the_subset() {
        for (template, expected) in [
            ("{{.Name}}", "web"),
            ("{{ .Name }}:{{.N}}", "web:3"),
            ("{{json .Name}}", "\"web\""),
            ("{{json .A}}", "{\"B\":[1,\"x\"]}"),
            ("{{.A.B}}", "[1,\"x\"]"),
            ("a\\tb{{.None}}", "a\tb"),
            ("plain }} text", "plain }} text"),
            ("{{range .A.B}}<{{.}}>{{end}}", "<1><x>"),
            ("{{range .L}}{{range .}}{{.}}{{end}},{{end}}{{.N}}", "12,3,3"),
            ("{{range .O}}{{.Name}} {{end}}", "b a "),
            ("{{range .None}}x{{end}}", ""),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
        let whole: Value = serde_json::from_str(&render("{{json .}}").unwrap()).unwrap();
        assert_eq!(whole["N"], 3);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = render("{{.Nmae}}").unwrap_err().to_string();
        assert_eq!(
            error,
            "--format: there is no field \".Nmae\": there are .A .L .N .Name .None .O"
        );
        let error = render("{{.Name.First}}").unwrap_err().to_string();
        assert_eq!(error, "--format: there is no field \".Name.First\": there are none below it");
        for template in [
            "{{.Name",
            "{{range .A}}x",
            "{{end}}",
            "{{range}}{{end}}",
            "{{if .N}}x{{end}}",
            "{{Name}}",
            "{{..}}",
            "{{}}",
        ] {
            assert!(matches!(render(template), Err(TemplateError::Syntax(_))), "{template}");
        }
        assert_eq!(
            render("{{range .Name}}{{end}}"),
            Err(TemplateError::NoList(".Name".to_owned()))
        );
    }
}
