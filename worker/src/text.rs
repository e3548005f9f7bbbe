//! Cutting texts without tearing a character.

/// Cuts a text to at most `len_max` bytes from its beginning.
pub(crate) fn keep_head(mut text: String, len_max: usize) -> String {
    if text.len() > len_max {
        let end = (0..=len_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// The last at most `len_max` bytes of a text.
pub(crate) fn tail(text: &str, len_max: usize) -> &str {
    let start = text.len().saturating_sub(len_max);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(text.len())..]
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
}
