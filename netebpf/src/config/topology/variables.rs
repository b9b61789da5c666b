//! Variables in a value, as Compose replaces them: `$X`, `${X}`, `${X:-default}`, `${X:?message}`, `${X:+other}`, each
//! also without the colon, which then asks whether the variable is set rather than whether there is something in it.
//! `$$` is a dollar sign.
//!
//! **Invariant**: what a variable holds is never looked at for variables.

use std::collections::BTreeMap;

/// The variables that there are.
pub type Variables = BTreeMap<String, String>;

/// How deep a default may have a variable with a default: nobody writes so many, and each is a call.
const MAX_DEPTH: usize = 32;

/// Why a value cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::config) enum VariableError {
    /// A dollar sign that begins nothing.
    Syntax,
    /// The user says that it has to be there, and what to say where it is not.
    Required { name: String, message: String },
}

/// A value with its variables replaced; `unset` is told which are not there.
pub(in crate::config) fn replace(
    text: &str,
    variables: &Variables,
    unset: &mut dyn FnMut(&str),
) -> Result<String, VariableError> {
    Reader { rest: text, variables, unset }.text(0, true)
}

struct Reader<'a> {
    rest: &'a str,
    variables: &'a Variables,
    unset: &'a mut dyn FnMut(&str),
}

impl Reader<'_> {
    /// To the end, or in braces to the closing one, which stays. What is not `wanted` is only read over.
    fn text(&mut self, depth: usize, wanted: bool) -> Result<String, VariableError> {
        let mut text = String::new();
        loop {
            let end = self.rest.find(|c| c == '$' || (c == '}' && depth > 0));
            let (before, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            text.push_str(before);
            self.rest = rest;
            let Some(after) = rest.strip_prefix('$') else { return Ok(text) };
            self.rest = after;
            if let Some(after) = after.strip_prefix('$') {
                self.rest = after;
                text.push('$');
            } else if let Some(after) = after.strip_prefix('{') {
                self.rest = after;
                text.push_str(&self.braces(depth + 1, wanted)?);
            } else {
                let name = self.name()?;
                text.push_str(&self.value(&name, wanted));
            }
        }
    }

    /// What stands behind `${`.
    fn braces(&mut self, depth: usize, wanted: bool) -> Result<String, VariableError> {
        if depth > MAX_DEPTH {
            return Err(VariableError::Syntax);
        }
        let name = self.name()?;
        if let Some(after) = self.rest.strip_prefix('}') {
            self.rest = after;
            return Ok(self.value(&name, wanted));
        }
        let (colon, after) = match self.rest.strip_prefix(':') {
            Some(after) => (true, after),
            None => (false, self.rest),
        };
        let sign = after.chars().next().filter(|sign| "-?+".contains(*sign));
        let sign = sign.ok_or(VariableError::Syntax)?;
        self.rest = &after[1..];
        let value = self.variables.get(&name).filter(|value| !(colon && value.is_empty()));
        let word = self.text(depth, wanted && (sign == '+') == value.is_some())?;
        self.rest = self.rest.strip_prefix('}').ok_or(VariableError::Syntax)?;
        match (sign, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) if wanted => Err(VariableError::Required { name, message: word }),
            (_, value) => Ok(value.cloned().unwrap_or_default()),
        }
    }

    fn name(&mut self) -> Result<String, VariableError> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(VariableError::Syntax);
        }
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn value(&mut self, name: &str, wanted: bool) -> String {
        let value = self.variables.get(name);
        if value.is_none() && wanted {
            (self.unset)(name);
        }
        value.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> (Result<String, VariableError>, Vec<String>) {
        let pairs = [("A", "one"), ("_b2", "$A"), ("E", "")];
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut unset = Vec::new();
        (replace(text, &variables, &mut |name| unset.push(name.to_owned())), unset)
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("plain } {text}", "plain } {text}"),
            ("$A${A}", "oneone"),
            ("$A-$$A-$$$A", "one-$A-$one"),
            ("${_b2}", "$A"),
            ("${A:-two}${E:-two}${N:-two}", "onetwotwo"),
            ("${A-two}${E-two}${N-two}", "onetwo"),
            ("${A:+two}${E:+two}${N:+two}", "two"),
            ("${A+two}${E+two}${N+two}", "twotwo"),
            ("${A:?x}${E?x}", "one"),
            ("${N:-${M:-$A:80}/tcp}!", "one:80/tcp!"),
            ("${N:-a-b:c?d}", "a-b:c?d"),
            ("${N-}", ""),
            ("ü${A}ü", "üoneü"),
            ("${A:-${N:?not looked at}$N}", "one"),
        ] {
            assert_eq!(replaced(text), (Ok(expected.to_owned()), Vec::new()), "{text}");
        }
        let (value, unset) = replaced("$N${M}${A:-$O}${N:-$P}");
        assert_eq!(
            (value.unwrap().as_str(), unset),
            ("one", ["N", "M", "P"].map(String::from).into())
        );
    }

    #[test]
    fn what_is_no_value() {
        let deep = format!("{}{}", "${N:-".repeat(100_000), "}".repeat(100_000));
        for text in
            ["$", "a$ b", "$1", "${}", "${A", "${A:}", "${A:-x", "${1A}", "${A b}", "${A:ü}", &deep]
        {
            assert_eq!(replaced(text).0, Err(VariableError::Syntax), "{text}");
        }
        let required = |name: &str, message: &str| {
            Err(VariableError::Required { name: name.to_owned(), message: message.to_owned() })
        };
        assert_eq!(replaced("${N:?give $A}").0, required("N", "give one"));
        assert_eq!(replaced("${E:?}").0, required("E", ""));
    }
}
