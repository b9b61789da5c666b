//! Data for people, and for scripts: a table, JSON, or the user's own template.
//!
//! **Invariant**: data goes to standard output and nothing else does. A reader that closes the pipe
//! ends the command quietly.

mod template;
mod time;

pub(crate) use template::{Template, TemplateError};
pub(crate) use time::{duration, moment, rfc3339};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::{
    io::{self, Write as _},
    str::FromStr,
};

/// `--format`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Aligned columns.
    Table,
    /// JSON.
    Json,
    /// A template for each object.
    Template(Template),
}

impl FromStr for Format {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            // Nothing at all is, as in Docker, what there is without the option.
            "" | "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            template => Template::parse(template).map(Self::Template),
        }
    }
}

/// `--format` of a listing: Docker's `table TEMPLATE`, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ListFormat {
    /// As for other things.
    Plain(Format),
    /// Aligned columns, which tabs separate, under the headings of the fields in them.
    Columns(Template),
}

impl FromStr for ListFormat {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let columns = text.strip_prefix("table").map(str::trim_start);
        match columns.filter(|columns| !columns.is_empty()) {
            Some(columns) if columns.starts_with("{{") || text.starts_with("table ") => {
                Template::parse(columns).map(Self::Columns)
            }
            _ => text.parse().map(Self::Plain),
        }
    }
}

/// Rows of a listing: objects with named fields, of which some are columns.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Heading and field of each column.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// The objects.
    pub(crate) rows: Vec<Value>,
}

impl Listing {
    /// The listing as text: one object a line in JSON, as Docker does.
    ///
    /// # Errors
    /// When the template names a field that is not there.
    pub(crate) fn render(&self, format: &ListFormat) -> Result<String, TemplateError> {
        let rendered = |template: &Template| {
            self.rows.iter().map(|row| template.render(row)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match format {
            ListFormat::Plain(Format::Table) => self.table(),
            ListFormat::Plain(Format::Json) => {
                self.rows.iter().map(|row| format!("{row}\n")).collect()
            }
            ListFormat::Plain(Format::Template(template)) => {
                rendered(template)?.into_iter().map(|row| row + "\n").collect()
            }
            ListFormat::Columns(template) => {
                let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
                let headings = template.headings(&|field| self.heading(field));
                let rows = rendered(template)?;
                table(cells(&headings), rows.iter().flat_map(|row| row.lines().map(cells)))
            }
        })
    }

    /// What stands over a field: the column's heading, or its name as Docker writes it, `CREATED AT` for `CreatedAt`.
    fn heading(&self, field: &str) -> String {
        let column = self.columns.iter().find(|(_, name)| *name == field);
        column.map_or_else(|| words(field).to_uppercase(), |(heading, _)| (*heading).to_owned())
    }

    fn table(&self) -> String {
        let row = |row: &Value| {
            let cell = |(_, field): &(&str, &str)| text(row.get(*field).unwrap_or(&Value::Null));
            self.columns.iter().map(cell).collect::<Vec<_>>()
        };
        table(self.columns.iter().map(|(heading, _)| *heading), self.rows.iter().map(row))
    }
}

/// Aligned columns under headings, as wide as they need to be.
pub(crate) fn table<H: ToString>(
    headings: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.into_iter().map(|heading| heading.to_string()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A name in words: a new one begins with a capital after a small letter, where a small one follows.
fn words(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let begins = |at: usize| {
        at > 0
            && letters[at].is_uppercase()
            && letters[at - 1].is_lowercase()
            && letters.get(at + 1).is_some_and(|next| next.is_lowercase())
    };
    let with_space = |(at, letter): (usize, &char)| {
        let space = begins(at).then_some(' ');
        space.into_iter().chain([*letter])
    };
    letters.iter().enumerate().flat_map(with_space).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

/// Writes to standard output.
///
/// # Errors
/// When it cannot be written; a closed pipe is none.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// One document, indented.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_lists_are_joined() {
        let listing = Listing {
            columns: &[("NAME", "Name"), ("PORTS", "Ports")],
            rows: vec![
                json!({"Name": "web", "Ports": ["80/tcp", "53/udp"], "More": 1}),
                json!({"Name": "database", "Ports": []}),
            ],
        };
        assert_eq!(
            listing.render(&ListFormat::Plain(Format::Table)).unwrap(),
            "NAME       PORTS\nweb        80/tcp, 53/udp\ndatabase\n"
        );
        assert_eq!("".parse(), Ok(Format::Table));
        let template = "{{.Name}}".parse().unwrap();
        assert_eq!(listing.render(&template).unwrap(), "web\ndatabase\n");
        assert_eq!(listing.render(&ListFormat::Plain(Format::Json)).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_table_of_the_users_own() {
        let mut listing = Listing {
            columns: &[("NAME", "Name"), ("CREATED", "RunningFor")],
            rows: vec![
                json!({"Name": "web", "RunningFor": "3 s", "CreatedAt": 1, "IPv6": "no", "L": ["a"]}),
                json!({"Name": "database", "RunningFor": "", "CreatedAt": 20, "IPv6": "", "L": []}),
            ],
        };
        let render = |listing: &Listing, format: &str| listing.render(&format.parse().unwrap());
        for (format, expected) in [
            (
                "table {{.Name}}\\t{{.RunningFor}}\\t{{.CreatedAt}}",
                "NAME       CREATED   CREATED AT\nweb        3 s       1\ndatabase             20\n",
            ),
            ("table {{.Name}}: {{json .IPv6}}", "NAME: IPV6\nweb: \"no\"\ndatabase: \"\"\n"),
            ("table{{if .IPv6}}{{.IPv6}}{{else}}-{{end}}", "IPV6\nno\n-\n"),
            ("table {{range .L}}{{.}}{{end}}\t{{index .L 0}}", "L   L\na   a\n"),
            ("tables {{.Name}}", "tables web\ntables database\n"),
        ] {
            listing.rows.truncate(if format.contains("index") { 1 } else { 2 });
            assert_eq!(render(&listing, format).unwrap(), expected, "{format}");
            listing.rows.resize(2, json!({"Name": "database", "IPv6": ""}));
        }
        listing.rows.clear();
        assert_eq!(render(&listing, "table {{.Name}}").unwrap(), "NAME\n");
        assert!("table {{.Name".parse::<ListFormat>().is_err());
    }
}
