//! A command in one string, split as a POSIX shell splits words: quotes and backslashes, nothing else.

/// A quote that is not closed, or a backslash at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WordsError {
    /// The quote that is open at the end.
    #[error("the {0} is not closed")]
    Open(char),
    /// A backslash with nothing after it.
    #[error("the last \\ has nothing after it")]
    Backslash,
}

/// Splits a command.
pub(super) fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    // None between words; an empty word is one that was quoted.
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let next = chars.next().ok_or(WordsError::Backslash)?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads to the closing quote. Between double quotes a backslash takes its meaning from `"`, `\`, `$`
/// and `` ` `` only (POSIX.1-2017, 2.2.3).
fn quoted(
    quote: char,
    chars: &mut std::str::Chars<'_>,
    word: &mut String,
) -> Result<(), WordsError> {
    loop {
        match chars.next().ok_or(WordsError::Open(quote))? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(WordsError::Open(quote))? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let cases: [(&str, &[&str]); 8] = [
            ("python3 -m http.server  80", &["python3", "-m", "http.server", "80"]),
            ("sh -c 'echo a b'", &["sh", "-c", "echo a b"]),
            (r#"echo "a \"b\" \n" c"#, &["echo", r#"a "b" \n"#, "c"]),
            (r"a\ b c", &["a b", "c"]),
            ("a''b '' \"\"", &["ab", "", ""]),
            ("  ", &[]),
            ("a\n\tb", &["a", "b"]),
            ("ü 'ö'", &["ü", "ö"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).as_deref(), Ok(words.map_owned().as_slice()), "{line:?}");
        }
        assert_eq!(split("echo 'a"), Err(WordsError::Open('\'')));
        assert_eq!(split("echo \"a\\"), Err(WordsError::Open('"')));
        assert_eq!(split("echo \\"), Err(WordsError::Backslash));
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }
    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }
}
