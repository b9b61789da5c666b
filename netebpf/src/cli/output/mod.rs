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
    pub(crate) fn render(&self, format: &Format) -> Result<String, TemplateError> {
        match format {
            Format::Table => Ok(self.table()),
            Format::Json => Ok(self.rows.iter().map(|row| format!("{row}\n")).collect()),
            Format::Template(template) => {
                let mut out = String::new();
                for row in &self.rows {
                    out.push_str(&template.render(row)?);
                    out.push('\n');
                }
                Ok(out)
            }
        }
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
            listing.render(&Format::Table).unwrap(),
            "NAME       PORTS\nweb        80/tcp, 53/udp\ndatabase\n"
        );
        assert_eq!("".parse(), Ok(Format::Table));
        let template = "{{.Name}}".parse().unwrap();
        assert_eq!(listing.render(&template).unwrap(), "web\ndatabase\n");
        assert_eq!(listing.render(&Format::Json).unwrap().lines().count(), 2);
    }
}
