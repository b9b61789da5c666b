//! Reading a template: blocks by recursion, and what stands between braces word by word.

use super::{Expression, Part, TemplateError};
use serde_json::Value;

/// How deep blocks and parentheses may be in one another: each is a call.
const MAX_DEPTH: usize = 50;

/// All of a template.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut reader = Reader { rest: text };
    match reader.block(0)? {
        (parts, End::Text) => Ok(parts),
        (_, End::Else(words)) => Err(syntax(&format!("{{{{else {words}}}}}"))),
        (_, End::Closed) => Err(syntax("{{end}}")),
    }
}

/// What ends a block.
enum End {
    Text,
    /// And what stands behind it.
    Else(String),
    Closed,
}

struct Reader<'a> {
    rest: &'a str,
}

fn syntax(text: &str) -> TemplateError {
    TemplateError::Syntax(text.to_owned())
}

impl Reader<'_> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Part>, End), TemplateError> {
        let mut parts = Vec::new();
        loop {
            let Some((before, after)) = self.rest.split_once("{{") else {
                parts.extend((!self.rest.is_empty()).then(|| Part::Text(self.rest.to_owned())));
                self.rest = "";
                return Ok((parts, End::Text));
            };
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            let (action, after) =
                after.split_once("}}").ok_or_else(|| syntax(&format!("{{{{{after}")))?;
            self.rest = after;
            let action = action.trim();
            let (word, words) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
            parts.push(match word {
                "end" if words.is_empty() => return Ok((parts, End::Closed)),
                "else" => return Ok((parts, End::Else(words.trim().to_owned()))),
                "if" => self.condition(words, depth)?,
                "range" => {
                    let (names, of) = declared(words)?;
                    let of = expression(of)?;
                    let (each, end) = self.block(deeper(depth)?)?;
                    Part::Range(names, of, [each, self.otherwise(end, depth)?])
                }
                _ => Part::Print(expression(action)?),
            });
        }
    }

    fn condition(&mut self, words: &str, depth: usize) -> Result<Part, TemplateError> {
        let condition = expression(words)?;
        let (then, end) = self.block(deeper(depth)?)?;
        Ok(Part::If(condition, [then, self.otherwise(end, depth)?]))
    }

    /// What stands between `else` and `end`.
    fn otherwise(&mut self, end: End, depth: usize) -> Result<Vec<Part>, TemplateError> {
        match end {
            End::Closed => Ok(Vec::new()),
            End::Text => Err(syntax("a block without its {{end}}")),
            End::Else(words) if words.is_empty() => match self.block(deeper(depth)?)? {
                (parts, End::Closed) => Ok(parts),
                _ => Err(syntax("{{else}} without its {{end}}")),
            },
            End::Else(words) => match words.strip_prefix("if ") {
                Some(words) => Ok(vec![self.condition(words, deeper(depth)?)?]),
                None => Err(syntax(&format!("{{{{else {words}}}}}"))),
            },
        }
    }
}

fn deeper(depth: usize) -> Result<usize, TemplateError> {
    if depth >= MAX_DEPTH { Err(syntax("blocks too deep in one another")) } else { Ok(depth + 1) }
}

/// The names before `:=`.
fn declared(words: &str) -> Result<(Vec<String>, &str), TemplateError> {
    let Some((names, of)) = words.split_once(":=") else { return Ok((Vec::new(), words)) };
    let name =
        |name: &str| name.trim().strip_prefix('$').filter(|name| is_name(name)).map(str::to_owned);
    let names: Option<Vec<_>> = names.split(',').map(name).collect();
    let names = names.filter(|names| names.len() <= 2).ok_or_else(|| syntax(words))?;
    Ok((names, of))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// The whole of a text.
fn expression(text: &str) -> Result<Expression, TemplateError> {
    let wrong = || syntax(&format!("{{{{{text}}}}}"));
    let (expression, rest) = call(text.trim(), 0).ok_or_else(wrong)?;
    if rest.trim().is_empty() { Ok(expression) } else { Err(wrong()) }
}

/// `json X`, `index X KEY…` or X, and what is left.
fn call(text: &str, depth: usize) -> Option<(Expression, &str)> {
    if let Some(rest) = text.strip_prefix("json ") {
        let (of, rest) = operand(rest.trim_start(), depth)?;
        return Some((Expression::Json(Box::new(of)), rest));
    }
    let Some(rest) = text.strip_prefix("index ") else { return operand(text, depth) };
    let (of, mut rest) = operand(rest.trim_start(), depth)?;
    let mut keys = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(')') {
            return (!keys.is_empty()).then(|| (Expression::Index(Box::new(of), keys), rest));
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (key, end) = if digits > 0 {
            (rest[..digits].parse::<u64>().ok()?.into(), digits)
        } else {
            // A text in quotes, as in JSON.
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            (values.next()?.ok().filter(Value::is_string)?, values.byte_offset())
        };
        keys.push(key);
        rest = &rest[end..];
    }
}

/// `.A.B`, `$x.A` or `(…).A`, and what is left.
fn operand(text: &str, depth: usize) -> Option<(Expression, &str)> {
    let (of, rest) = if let Some(inner) = text.strip_prefix('(') {
        let (of, rest) = call(inner.trim_start(), deeper(depth).ok()?)?;
        (of, rest.trim_start().strip_prefix(')')?)
    } else if let Some(rest) = text.strip_prefix('$') {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (Expression::Variable(rest[..end].to_owned()), &rest[end..])
    } else {
        (Expression::Dot, text.strip_prefix('.').map(|_| text)?)
    };
    let end = rest.find(|c: char| c.is_whitespace() || c == ')').unwrap_or(rest.len());
    let (path, rest) = rest.split_at(end);
    let path = match path {
        "" => return Some((of, rest)),
        "." if of == Expression::Dot => return Some((of, rest)),
        path => path.strip_prefix('.')?.split('.').map(str::to_owned).collect::<Vec<_>>(),
    };
    (!path.iter().any(String::is_empty)).then(|| (Expression::Fields(Box::new(of), path), rest))
}
