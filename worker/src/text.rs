//! Texts for people: cut without tearing a character, errors with their causes.

/// Cuts a text to at most `len_max` bytes from its beginning.
pub(crate) fn keep_head(mut text: String, len_max: usize) -> String {
    text.truncate(head_len(&text, len_max));
    text
}

/// How many bytes of a text there are up to `len_max`, without tearing a character.
pub(crate) fn head_len(text: &str, len_max: usize) -> usize {
    if text.len() <= len_max {
        return text.len();
    }
    let end = (0..=len_max).rev().find(|at| text.is_char_boundary(*at));
    end.unwrap_or(0)
}

/// The last at most `len_max` bytes of a text.
pub(crate) fn tail(text: &str, len_max: usize) -> &str {
    let start = text.len().saturating_sub(len_max);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(text.len())..]
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_torn() {
        assert_eq!(keep_head("aäb".to_owned(), 2), "a");
        assert_eq!(keep_head("aäb".to_owned(), 3), "aä");
        assert_eq!(keep_head("aäb".to_owned(), 9), "aäb");
        assert_eq!(tail("aäb", 2), "b");
        assert_eq!(tail("aäb", 3), "äb");
        assert_eq!(tail("aäb", 9), "aäb");
    }

    #[test]
    fn an_error_is_told_with_its_causes_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open {path}")]
        struct Outer {
            path: &'static str,
            source: Inner,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open")]
        struct Inner {
            source: std::io::Error,
        }
        let source = Inner {
            source: std::io::Error::other("disk on fire"),
        };

        let told = causes(&Outer { path: "x", source });

        assert_eq!(told, "cannot open x: disk on fire");
    }
}
