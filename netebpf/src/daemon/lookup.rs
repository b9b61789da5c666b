//! Finding what the user named: a name, an identifier, or a unique beginning of one, as with Docker.

use crate::model::Id;

/// Why a name leads nowhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LookupError {
    /// Nothing has it.
    #[error("No such {kind}: {query}; \"{list}\" lists what there is")]
    NotFound {
        /// `endpoint` or `network`.
        kind: &'static str,
        /// What was asked for.
        query: String,
        /// The command that lists them.
        list: &'static str,
    },
    /// Several identifiers begin so.
    #[error("{kind} {query:?}: several identifiers begin so ({found}): give more digits")]
    Ambiguous {
        /// `endpoint` or `network`.
        kind: &'static str,
        /// What was asked for.
        query: String,
        /// The first digits of each.
        found: String,
    },
}

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Endpoints.
    Endpoint,
    /// Networks.
    Network,
}

impl Kind {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Endpoint => ("endpoint", "netebpf ps"),
            Self::Network => ("network", "netebpf network ls"),
        }
    }
}

/// The name of the one that `query` means: the full identifier, then the name, then a unique beginning
/// of an identifier.
///
/// # Errors
/// When there is none, or several.
pub fn find<'a>(
    kind: Kind,
    query: &str,
    all: impl Iterator<Item = (&'a str, &'a Id)> + Clone,
) -> Result<&'a str, LookupError> {
    if let Some((name, _)) = all.clone().find(|(_, id)| id.as_str() == query) {
        return Ok(name);
    }
    if let Some((name, _)) = all.clone().find(|(name, _)| *name == query) {
        return Ok(name);
    }
    let found: Vec<_> =
        all.filter(|(_, id)| !query.is_empty() && id.as_str().starts_with(query)).collect();
    let (kind, list) = kind.words();
    let query = query.to_owned();
    match found[..] {
        [(name, _)] => Ok(name),
        [] => Err(LookupError::NotFound { kind, query, list }),
        _ => {
            let found = found.iter().map(|(_, id)| id.short()).collect::<Vec<_>>().join(", ");
            Err(LookupError::Ambiguous { kind, query, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        serde_json::from_value(format!("{text:0<64}").into()).unwrap()
    }

    #[test]
    fn names_come_before_beginnings() {
        let ids = [("web", id("ab1")), ("ab", id("cd2")), ("db", id("ab3"))];
        let all = || ids.iter().map(|(name, id)| (*name, id));
        let find = |query| find(Kind::Endpoint, query, all());
        assert_eq!(find("web"), Ok("web"));
        assert_eq!(find("ab"), Ok("ab"));
        assert_eq!(find("ab3"), Ok("db"));
        assert_eq!(find(ids[0].1.as_str()), Ok("web"));
        assert_eq!(
            find("a").unwrap_err().to_string(),
            "endpoint \"a\": several identifiers begin so (ab1000000000, ab3000000000): give more digits"
        );
        assert!(matches!(find(""), Err(LookupError::NotFound { .. })));
        assert!(matches!(find("zz"), Err(LookupError::NotFound { .. })));
    }
}
