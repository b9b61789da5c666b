//! What the parts of the page are made of.
//!
//! **Invariant**: text that is not ours is escaped where it goes in.

use super::Measured;
use crate::bench::arms::Kind;
use std::fmt::Write as _;

pub(super) fn figure(result: &Measured, more: &str, svg: &str) -> String {
    let title = capital(&format!("{}, {}", result.what(), result.family));
    format!("<figure>\n<figcaption><b>{title}</b>, {more}</figcaption>\n{svg}\n</figure>")
}

pub(super) fn title(result: &Measured) -> String {
    format!("{}, {}, {}", result.way, result.what(), result.family)
}

/// Rows of words, the first two columns, and numbers, all others; opened by who wants to see it.
pub(super) fn table<'a>(
    page: &mut String,
    name: &str,
    headings: impl AsRef<[&'a str]>,
    rows: impl Iterator<Item = impl AsRef<[String]>>,
) {
    let cell = |tag: &str, (index, text): (usize, &str)| match index {
        0 | 1 => format!("<{tag}>{}</{tag}>", escaped(text)),
        _ => format!("<{tag} class=\"number\">{}</{tag}>", escaped(text)),
    };
    let row = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        format!("<tr>{}</tr>\n", cells.enumerate().map(|of| cell(tag, of)).collect::<String>())
    };
    let name = capital(name);
    let _ = write!(
        page,
        "<details>\n<summary>{name}</summary>\n<div class=\"scroll\" role=\"region\" aria-label=\"{name}\" tabindex=\"0\">\n\
         <table class=\"data\">\n<thead>\n{}</thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n</details>\n",
        row("th", &mut headings.as_ref().iter().copied()),
        rows.map(|of| row("td", &mut of.as_ref().iter().map(String::as_str))).collect::<String>()
    );
}

/// Ours, the limit and the others are told apart by colour; who exactly it is says the name.
pub(super) fn class(arm: Kind) -> &'static str {
    match arm {
        Kind::Netebpf | Kind::NetebpfShortcut | Kind::NetebpfNetkit => "ours",
        Kind::BareVeth => "limit",
        _ => "other",
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// As text or as an attribute's value.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter => out.push(letter),
        }
    }
    out
}
