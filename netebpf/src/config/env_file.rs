//! `.env` beside a topology file: variables for its values, in Compose's syntax.
//!
//! A line is `NAME=value`, also with `export` before it and spaces around the sign; `NAME` alone has the value of the
//! environment. `#` begins a comment at the beginning of a line, or behind a space. Values without quotes and in `"…"`
//! may have variables, of the environment first and of the lines before; in `"…"` also `\n`, `\r`, `\t`, `\\`, `\"` and
//! `\$`. In `'…'` only `\'` is not what it looks like. What is in quotes may have several lines.
//!
//! **Invariant**: pure; a line that is not understood is an error with its place.

use super::topology::{VariableError, Variables, Warning, replace};
use crate::model::Place;

/// Why a file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct EnvFileError {
    /// Where.
    pub place: Box<Place>,
    /// What is wrong.
    pub problem: EnvFileProblem,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvFileProblem {
    /// No name where one belongs.
    #[error("{0:?} is no name of a variable; NAME=value is meant")]
    Name(String),
    /// Nothing closes it.
    #[error("a quotation mark that nothing closes: {0}")]
    Open(char),
    /// More than a comment behind a closing quotation mark.
    #[error(
        "{0:?} behind the closing quotation mark; nothing, or a comment behind a space, would be right"
    )]
    Behind(String),
    /// Not a variable.
    #[error("{0:?}: a dollar sign that begins no variable; $$ is a dollar sign")]
    Variable(String),
    /// The user's own words.
    #[error("required variable {0} is missing a value: {1}")]
    Required(String, String),
}

/// The variables of a file, and what is to be said about it.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
pub fn parse(
    text: &str,
    file: &str,
    environment: &Variables,
) -> Result<(Variables, Vec<Warning>), EnvFileError> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader =
        Reader { text: &text, rest: &text, file, known: environment.clone(), warnings: Vec::new() };
    let mut variables = Variables::new();
    while reader.skip_to_a_name() {
        let (name, value) = reader.variable()?;
        let Some(value) = value.or_else(|| environment.get(&name).cloned()) else { continue };
        reader.known.insert(name.clone(), environment.get(&name).unwrap_or(&value).clone());
        variables.insert(name, value);
    }
    Ok((variables, reader.warnings))
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    file: &'a str,
    /// The environment's, and those of the lines before.
    known: Variables,
    warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    /// Where the rest begins.
    fn place(&self) -> Place {
        let before = &self.text[..self.text.len() - self.rest.len()];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place {
            file: self.file.to_owned(),
            line: 1 + before.matches('\n').count() as u64,
            column: 1 + line.chars().count() as u64,
        }
    }

    fn error(&self, problem: EnvFileProblem) -> EnvFileError {
        EnvFileError { place: self.place().into(), problem }
    }

    /// What is before a character, or all; that one is next.
    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let (before, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        before
    }

    /// Over empty lines and comments; `false` at the end.
    fn skip_to_a_name(&mut self) -> bool {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.until(|c| c == '\n');
        }
    }

    fn variable(&mut self) -> Result<(String, Option<String>), EnvFileError> {
        let exported = self.rest.strip_prefix("export").map(str::trim_start);
        if let Some(rest) =
            exported.filter(|_| self.rest["export".len()..].starts_with([' ', '\t']))
        {
            self.rest = rest;
        }
        let begun = self.rest;
        let name = self.until(|c| "=:\n#".contains(c)).trim();
        let first_fits = !name.starts_with(|c: char| c.is_ascii_digit());
        let fits = |c: char| c.is_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || !first_fits || !name.chars().all(fits) {
            self.rest = begun;
            let line = begun.lines().next().unwrap_or_default();
            return Err(self.error(EnvFileProblem::Name(line.to_owned())));
        }
        let Some(rest) = self.rest.strip_prefix(['=', ':']) else {
            self.until(|c| c == '\n');
            return Ok((name.to_owned(), None));
        };
        self.rest = rest.trim_start_matches([' ', '\t']);
        let value = match self.rest.chars().next() {
            Some(mark @ ('"' | '\'')) => self.quoted(mark)?,
            _ => {
                let place = self.place();
                let line = self.until(|c| c == '\n');
                let comment = [" #", "\t#"].iter().filter_map(|sign| line.find(sign)).min();
                let value = match line {
                    comment if comment.starts_with('#') => "",
                    line => line[..comment.unwrap_or(line.len())].trim_end(),
                };
                self.replaced(value, place)?
            }
        };
        Ok((name.to_owned(), Some(value)))
    }

    fn quoted(&mut self, mark: char) -> Result<String, EnvFileError> {
        let (place, begun) = (self.place(), self.rest);
        self.rest = &self.rest[1..];
        let mut value = String::new();
        loop {
            value.push_str(self.until(|c| c == mark || c == '\\'));
            let mut next = self.rest.chars();
            match (next.next(), next.next()) {
                (None, _) | (Some('\\'), None) => {
                    self.rest = begun;
                    return Err(self.error(EnvFileProblem::Open(mark)));
                }
                (Some('\\'), Some(escaped)) => {
                    match (mark, escaped) {
                        ('\'', '\'') | ('"', '"' | '\\') => value.push(escaped),
                        ('"', 'n') => value.push('\n'),
                        ('"', 'r') => value.push('\r'),
                        ('"', 't') => value.push('\t'),
                        // It is looked at for variables later.
                        ('"', '$') => value.push_str("$$"),
                        _ => value.extend(['\\', escaped]),
                    }
                    self.rest = next.as_str();
                }
                _ => break,
            }
        }
        self.rest = &self.rest[1..];
        let behind = self.until(|c| c == '\n');
        let comment = behind.trim_start();
        let is_comment = comment.starts_with('#') && comment.len() < behind.len();
        if !comment.is_empty() && !is_comment {
            self.rest = &self.text[self.text.len() - self.rest.len() - behind.len()..];
            return Err(self.error(EnvFileProblem::Behind(behind.trim_end().to_owned())));
        }
        if mark == '"' { self.replaced(&value, place) } else { Ok(value) }
    }

    fn replaced(&mut self, value: &str, place: Place) -> Result<String, EnvFileError> {
        let warnings = &mut self.warnings;
        let unset = &mut |name: &str| {
            let text = format!("the {name:?} variable is not set, defaulting to a blank string");
            warnings.push(Warning { place: place.clone(), text });
        };
        replace(value, &self.known, unset).map_err(|error| {
            let problem = match error {
                VariableError::Syntax => EnvFileProblem::Variable(value.to_owned()),
                VariableError::Required { name, message } => {
                    EnvFileProblem::Required(name, message)
                }
            };
            EnvFileError { place: place.clone().into(), problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Variables {
        let pairs = [("HOME", "/root"), ("SET", "outside")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn parsed(text: &str) -> Result<Vec<String>, String> {
        let (variables, _) = parse(text, ".env", &environment()).map_err(|e| e.to_string())?;
        Ok(variables.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            ("", &[][..]),
            ("# a comment\n\n  \t\n", &[]),
            ("A=1\nB = two words \nexport C=3\nexport\tD=4", &["A=1", "B=two words", "C=3", "D=4"]),
            ("A=\nB=''\nC=\"\"", &["A=", "B=", "C="]),
            ("A: 1\nexported=x", &["A=1", "exported=x"]),
            ("A=1 # a comment\nB=1#2\nC=#3\nD=\t# x", &["A=1", "B=1#2", "C=", "D="]),
            ("A='a # b' # c\nB=\"a # b\"\t#c", &["A=a # b", "B=a # b"]),
            ("A='$B \\n it\\'s'", &["A=$B \\n it's"]),
            (r#"A="a\tb\n\"c\" \\ \x \$B""#, &["A=a\tb\n\"c\" \\ \\x $B"]),
            ("A=1\nB=$A-${A:-x}${C:-$$}\nC=\"${HOME}\"", &["A=1", "B=1-1$", "C=/root"]),
            ("A='one\ntwo'\nB=\"x\ny\"", &["A=one\ntwo", "B=x\ny"]),
            ("HOME\nNOWHERE\nB=1", &["B=1", "HOME=/root"]),
            // The environment's counts for whoever names it.
            ("SET=here\nA=$SET", &["A=outside", "SET=here"]),
            ("\u{feff}A=1\r\nB=2\r\n", &["A=1", "B=2"]),
            ("A=1\nA=2", &["A=2"]),
            ("A.b-c=ü=", &["A.b-c=ü="]),
        ] {
            assert_eq!(
                parsed(text).as_deref(),
                Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        let (_, warnings) = parse("A=1\nB=x$NONE", ".env", &environment()).unwrap();
        let said = "the \"NONE\" variable is not set, defaulting to a blank string";
        assert_eq!(warnings[0].to_string(), format!(".env:2:3: {said}"));
    }

    #[test]
    fn what_is_no_line() {
        for (text, place, words) in [
            ("A=1\n  =2", "2:3", "no name"),
            ("two words=1", "1:1", "NAME=value"),
            ("1A=1", "1:1", "no name"),
            ("A=1\nB='x\ny", "2:3", "nothing closes: '"),
            ("A=\"x\\", "1:3", "nothing closes: \""),
            ("A='x' y", "1:6", "behind the closing"),
            ("A='x'# y", "1:6", "behind the closing"),
            ("A=1\nB=a$", "2:3", "begins no variable"),
            ("A=${N:?give one}", "1:3", "N is missing a value: give one"),
        ] {
            let said = parsed(text).unwrap_err();
            assert!(said.starts_with(&format!(".env:{place}: ")) && said.contains(words), "{said}");
        }
    }
}
