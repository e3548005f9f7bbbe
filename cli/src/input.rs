//! Texts that come from files or stdin.

use std::{io, path::Path};

use crate::failure::Failure;

/// The text in a file; `-` is stdin.
///
/// # Errors
/// Where it can't be read, or isn't UTF-8.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Failure::local(format!("can't read {}: {error}", path.display())))
}

/// A text of the command line; `-` reads it from stdin.
///
/// # Errors
/// Where stdin can't be read, or isn't UTF-8.
pub fn text_or_stdin(text: String) -> Result<String, Failure> {
    match text.as_str() {
        "-" => read_text(Path::new("-")),
        _ => Ok(text),
    }
}
