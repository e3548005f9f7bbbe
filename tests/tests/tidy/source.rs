//! The sources, as the rules look at them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source file, comments and texts blanked out.
#[derive(Clone)]
pub struct File {
    /// Its path from the root.
    pub path: String,
    /// What is left, line by line where it was.
    pub code: String,
}

/// Where the workspace lies.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().to_owned()
}

/// All Rust files at or below a path.
pub fn rust(path: &str) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root().join(path), &mut found);
    found.sort();
    let read = |path: PathBuf| File {
        code: blank(&fs::read_to_string(&path).unwrap()),
        path: path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
    };
    found.into_iter().map(read).collect()
}

/// The same without tests: neither the files nor the modules at the ends of others.
pub fn production(path: &str) -> Vec<File> {
    let files = rust(path).into_iter().filter(|file| !is_test(&file.path));
    let cut = |file: File| {
        let end = tests_begin(&file.code);
        File {
            code: file.code[..end].to_owned(),
            ..file
        }
    };
    files.map(cut).collect()
}

impl File {
    /// What of it are tests.
    pub fn tests_only(self) -> Self {
        if is_test(&self.path) {
            return self;
        }
        let begin = tests_begin(&self.code);
        let lines = self.code[..begin].lines().count();
        Self {
            code: "\n".repeat(lines) + &self.code[begin..],
            ..self
        }
    }
}

/// Where the tests at the end of a file begin: at a module with a body. One that is declared only is
/// another file, and what comes after it is none of its.
fn tests_begin(code: &str) -> usize {
    let mut modules = code.match_indices("\n#[cfg(test)]\nmod ");
    let is_body = |at: usize| {
        code[at..]
            .find(['{', ';'])
            .map(|end| &code[at + end..=at + end])
    };
    let found = modules.find(|(at, _)| is_body(*at) == Some("{"));
    found.map_or(code.len(), |(at, _)| at)
}

/// Modules that are only there for tests, by their names.
const TEST_FILES: &[&str] = &[
    "tests.rs",
    "sled_tests.rs",
    "conformance.rs",
    "arbitrary.rs",
];

fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.clone().any(|part| part == "tests") || TEST_FILES.contains(&parts.next_back().unwrap())
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap().path();
            if !entry.ends_with("target") {
                collect(&entry, found);
            }
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// Whether a text has a word that is not part of a longer one.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        // What begins or ends with a sign has its border there.
        let is_open = |c: Option<char>, border: Option<char>| {
            c.is_some_and(is_part) && border.is_some_and(is_part)
        };
        !is_open(before, word.chars().next()) && !is_open(after, word.chars().next_back())
    })
}

/// Blanks out comments, texts and characters. Lines stay where they are.
pub fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest)
            .or_else(|| raw(rest, &code))
            .or_else(|| quoted(rest));
        match skipped {
            Some(len) => {
                code.extend(rest[..len].chars().filter(|c| *c == '\n'));
                // So that what stood around it stays apart.
                code.push(' ');
                rest = &rest[len..];
            }
            None => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(text.find("*/").map_or(text.len(), |at| at + 2));
    }
    None
}

/// A text such as `r#"…"#`.
fn raw(text: &str, before: &str) -> Option<usize> {
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let inner = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let inner = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let at = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(text.len() - inner.len() + at)
}

/// A text or a character in quotes.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut chars = text.char_indices().skip(1).peekable();
    if quote == '\'' {
        // A lifetime has no second quote after its first sign.
        let (_, first) = chars.next()?;
        if first != '\\' {
            let (at, second) = chars.next()?;
            return (second == '\'').then_some(at + 1);
        }
        chars.next();
    }
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(at + c.len_utf8());
        }
    }
    Some(text.len())
}

#[test]
fn comments_and_texts_are_blanked_and_code_is_not() {
    let text = "let a = \"sled\\\"\"; // sled\nlet b: &'a str = r#\"x \" sled\"#; /* sled\n */ 'x' '\\'' sled()";

    let code = blank(text);

    assert_eq!(code.matches("sled").count(), 1, "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(has_word(&code, "sled") && !has_word("sledge", "sled"));
}

#[test]
fn tests_of_a_file_begin_at_a_module_with_a_body() {
    let declared = "use a;\n#[cfg(test)]\nmod tests;\nfn code() {}";
    let inline = format!("{declared}\n#[cfg(test)]\nmod tests {{\n}}\n");

    assert_eq!(tests_begin(declared), declared.len());
    assert_eq!(tests_begin(&inline), declared.len());
}
