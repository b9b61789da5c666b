//! A subset of Go's templates, for `--format`: text, `{{.Name}}`, `{{.A.B}}`, `{{.}}`, `{{json …}}`, `{{index .A 0 "key"}}`,
//! `{{(index .A 0).B}}`, `{{if .A}}…{{else}}…{{end}}`, `{{range .A}}…{{end}}` and `{{range $k, $v := .A}}…{{end}}`; `\t` and
//! `\n` as Docker takes them.

mod parse;

use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// What cannot be printed with a template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// Not of the subset.
    #[error(
        "--format: {0:?} is not understood: text, {{{{.Name}}}}, {{{{.A.B}}}}, {{{{json .Name}}}}, {{{{index .A 0}}}}, \
         {{{{if .A}}}}…{{{{else}}}}…{{{{end}}}} and {{{{range .A}}}}…{{{{end}}}} are"
    )]
    Syntax(String),
    /// Nothing to go through.
    #[error("--format: {0:?} is neither a list nor an object to range over")]
    NoList(String),
    /// Nothing at that place.
    #[error("--format: index: there is nothing at {0}")]
    NoElement(String),
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
    Print(Expression),
    /// What is printed where there is something, and where there is not.
    If(Expression, [Vec<Part>; 2]),
    /// For each that a list or an object has, in order, by the names of its key and itself; and where there is none.
    Range(Vec<String>, Expression, [Vec<Part>; 2]),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Expression {
    /// `.`, what is looked at.
    Dot,
    /// `$name`; `$` alone is the whole.
    Variable(String),
    Fields(Box<Expression>, Vec<String>),
    Json(Box<Expression>),
    Index(Box<Expression>, Vec<Value>),
}

/// What is looked at, and what has a name; the last one of a name counts.
struct Scope<'a> {
    dot: &'a Value,
    names: Vec<(&'a str, Value)>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// At the first thing that is not of the subset.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parts(&text.replace("\\t", "\t").replace("\\n", "\n")).map(Self)
    }

    /// One object as text.
    ///
    /// # Errors
    /// When it has no such field.
    pub(crate) fn render(&self, object: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        let mut scope = Scope { dot: object, names: vec![("", object.clone())] };
        scope.render(&self.0, &mut out)?;
        Ok(out)
    }

    /// The same with the headings of fields in their places.
    pub(crate) fn headings(&self, heading: &dyn Fn(&str) -> String) -> String {
        let mut out = String::new();
        headings(&self.0, heading, &mut out);
        out
    }
}

/// What stands over a template's fields in a table: their headings in their places, whatever is done with them.
fn headings(parts: &[Part], heading: &dyn Fn(&str) -> String, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Print(of) | Part::Range(_, of, _) => {
                out.push_str(&of.field().map(heading).unwrap_or_default());
            }
            Part::If(_, [then, _]) => headings(then, heading, out),
        }
    }
}

impl Expression {
    /// The field that it is of.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Dot | Self::Variable(_) => None,
            Self::Fields(_, path) => path.last().map(String::as_str),
            Self::Json(of) | Self::Index(of, _) => of.field(),
        }
    }
}

impl<'a> Scope<'a> {
    fn render(&mut self, parts: &'a [Part], out: &mut String) -> Result<(), TemplateError> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Print(expression) => match self.value(expression)?.as_ref() {
                    Value::String(text) => out.push_str(text),
                    Value::Null => {}
                    value => out.push_str(&value.to_string()),
                },
                Part::If(condition, [then, otherwise]) => {
                    let so = is_true(self.value(condition)?.as_ref());
                    self.render(if so { then } else { otherwise }, out)?;
                }
                Part::Range(names, of, [each, otherwise]) => {
                    let items = items(self.value(of)?.into_owned(), of)?;
                    if items.is_empty() {
                        self.render(otherwise, out)?;
                    }
                    for (key, item) in &items {
                        let mut inner = Scope { dot: item, names: self.names.clone() };
                        let named = match names.as_slice() {
                            [key_name, name] => vec![(key_name, key), (name, item)],
                            [name] => vec![(name, item)],
                            _ => Vec::new(),
                        };
                        let named = named.into_iter();
                        inner
                            .names
                            .extend(named.map(|(name, value)| (name.as_str(), value.clone())));
                        inner.render(each, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, expression: &Expression) -> Result<Cow<'_, Value>, TemplateError> {
        Ok(match expression {
            Expression::Dot => Cow::Borrowed(self.dot),
            Expression::Variable(name) => {
                let found = self.names.iter().rfind(|(known, _)| known == name);
                let unknown = || TemplateError::Syntax(format!("${name}"));
                Cow::Borrowed(&found.ok_or_else(unknown)?.1)
            }
            Expression::Fields(of, path) => {
                Cow::Owned(find(self.value(of)?.as_ref(), path)?.clone())
            }
            Expression::Json(of) => Cow::Owned(Value::String(self.value(of)?.to_string())),
            Expression::Index(of, keys) => {
                let mut value = self.value(of)?.into_owned();
                for key in keys {
                    value = element(&value, key)?;
                }
                Cow::Owned(value)
            }
        })
    }
}

/// As Go: what is not empty and not zero.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(so) => *so,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Keys or places, and what is there; an object's by their keys, as Go.
fn items(value: Value, of: &Expression) -> Result<Vec<(Value, Value)>, TemplateError> {
    Ok(match value {
        Value::Array(items) => (0_u64..).map(Value::from).zip(items).collect(),
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.into_iter().collect();
            fields.into_iter().map(|(key, field)| (Value::String(key), field)).collect()
        }
        Value::Null => Vec::new(),
        _ => return Err(TemplateError::NoList(of.to_string())),
    })
}

/// As Go: a key that an object does not have is nothing, a place that a list does not have is wrong.
fn element(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    let found = match (value, key) {
        (Value::Object(fields), Value::String(key)) => {
            return Ok(fields.get(key).cloned().unwrap_or_default());
        }
        (Value::Array(items), Value::Number(place)) => {
            place.as_u64().and_then(|place| items.get(usize::try_from(place).ok()?))
        }
        _ => None,
    };
    found.cloned().ok_or_else(|| TemplateError::NoElement(key.to_string()))
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dot => f.write_str("."),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Fields(of, path) => match of.as_ref() {
                Self::Dot => write!(f, ".{}", path.join(".")),
                of => write!(f, "{of}.{}", path.join(".")),
            },
            Self::Json(of) => write!(f, "(json {of})"),
            Self::Index(of, _) => write!(f, "(index {of} …)"),
        }
    }
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
            ("{{range .None}}x{{else}}none{{end}}", "none"),
            ("{{range $k, $v := .O}}{{$k}}={{$v.Name}},{{.Name}} {{end}}", "y=b,b z=a,a "),
            ("{{range $i, $_ := .A.B}}{{$i}}{{end}}", "01"),
            ("{{range $v := .A.B}}{{$v}}{{$.Name}}{{end}}", "1webxweb"),
            ("{{index .A.B 1}}{{index .O \"y\" \"Name\"}}{{index .O \"no\"}}", "xb"),
            ("{{(index .L 0)}}{{(index .O \"z\").Name}}", "[1,2]a"),
            ("{{json (index .L 1)}}", "[3]"),
            ("{{if .N}}yes{{end}}{{if .None}}x{{else}}no{{end}}", "yesno"),
            ("{{if .None}}x{{else if .Name}}web{{else}}y{{end}}!", "web!"),
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
            "{{if .N}}x",
            "{{if .N}}{{else}}{{else}}{{end}}",
            "{{else}}",
            "{{index .A}}",
            "{{(index .L 0}}",
            "{{.N .N}}",
            "{{$x}}",
            "{{range $a, $b, $c := .O}}{{end}}",
            "{{Name}}",
            "{{..}}",
            "{{}}",
        ] {
            assert!(matches!(render(template), Err(TemplateError::Syntax(_))), "{template}");
        }
        let deep = "{{if .N}}".repeat(50_000);
        assert!(matches!(render(&deep), Err(TemplateError::Syntax(_))));
        assert_eq!(render("{{index .L 7}}"), Err(TemplateError::NoElement("7".to_owned())));
        assert_eq!(
            render("{{range .Name}}{{end}}"),
            Err(TemplateError::NoList(".Name".to_owned()))
        );
    }
}
