//! `--filter`, with Docker's matching: several values of one key are alternatives, several keys all have to fit, and so
//! do several labels.

use std::mem::discriminant;

/// One condition: a kind of it for each key.
pub(super) trait Condition: Sized {
    /// What there is a list of.
    type View;

    /// Whether it is met.
    fn meets(&self, view: &Self::View) -> bool;

    /// Whether others of its kind are no alternatives to it.
    fn is_label(&self) -> bool;

    /// Whether something meets all of them.
    fn all(conditions: &[Self], view: &Self::View) -> bool {
        conditions.iter().all(|condition| {
            let same = |other: &&Self| discriminant(*other) == discriminant(condition);
            match condition.is_label() {
                true => condition.meets(view),
                false => conditions.iter().filter(same).any(|other| other.meets(view)),
            }
        })
    }
}

/// `KEY=VALUE`.
pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

/// What to say of a value that cannot be.
pub(super) fn wrong(text: &str, right: &str) -> String {
    format!("invalid filter {text:?}: {right} would be right")
}

/// What to say of a key that nobody knows.
pub(super) fn unknown(text: &str, known: &str) -> String {
    format!("invalid filter {text:?}: {known} are understood")
}

/// Whether a text has a part; `^` and `$` stand for its ends.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (begins, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (ends, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    match (begins, ends) {
        (true, true) => text == pattern,
        (true, false) => text.starts_with(pattern),
        (false, true) => text.ends_with(pattern),
        (false, false) => text.contains(pattern),
    }
}
