//! A subset of Go's templates, for `--format`: text, `{{.Name}}`, `{{.A.B}}`, `{{.}}` and
//! `{{json …}}`; `\t` and `\n` as Docker takes them.

use serde_json::Value;

/// What cannot be printed with a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Not of the subset.
    #[error(
        "--format: {0:?} is not understood: text, {{{{.Name}}}}, {{{{.A.B}}}} and {{{{json .Name}}}} are"
    )]
    Syntax(String),
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
    Field { path: Vec<String>, json: bool },
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// At the first thing that is not of the subset.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let syntax = || TemplateError::Syntax(format!("{{{{{after}"));
            let (action, after) = after.split_once("}}").ok_or_else(syntax)?;
            parts.push(parse_action(action)?);
            rest = after;
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
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { path, json } => {
                    let value = find(object, path)?;
                    match value {
                        Value::String(text) if !json => out.push_str(text),
                        Value::Null if !json => {}
                        value => out.push_str(&value.to_string()),
                    }
                }
            }
        }
        Ok(out)
    }
}

fn parse_action(action: &str) -> Result<Part, TemplateError> {
    let syntax = || TemplateError::Syntax(format!("{{{{{action}}}}}"));
    let words: Vec<&str> = action.split_ascii_whitespace().collect();
    let (json, field) = match words[..] {
        [field] => (false, field),
        ["json", field] => (true, field),
        _ => return Err(syntax()),
    };
    let path = field.strip_prefix('.').ok_or_else(syntax)?;
    let path: Vec<String> = match path {
        "" => Vec::new(),
        path => path.split('.').map(str::to_owned).collect(),
    };
    if path.iter().any(String::is_empty) {
        return Err(syntax());
    }
    Ok(Part::Field { path, json })
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
        let object = json!({"Name": "web", "N": 3, "A": {"B": [1, "x"]}, "None": null});
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
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
        let whole: Value = serde_json::from_str(&render("{{json .}}").unwrap()).unwrap();
        assert_eq!(whole["N"], 3);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = render("{{.Nmae}}").unwrap_err().to_string();
        assert_eq!(error, "--format: there is no field \".Nmae\": there are .A .N .Name .None");
        let error = render("{{.Name.First}}").unwrap_err().to_string();
        assert_eq!(error, "--format: there is no field \".Name.First\": there are none below it");
        for template in ["{{.Name", "{{range .A}}x{{end}}", "{{Name}}", "{{..}}", "{{}}"] {
            assert!(matches!(render(template), Err(TemplateError::Syntax(_))), "{template}");
        }
    }
}
