//! How the tool speaks: answers on stdout, words about them on stderr.
//!
//! An answer is a table for people or the message's JSON for programs, one object in a line, as
//! grpcurl prints it after `jq -c`; a stream is a line or an object for each thing that happens. Colour goes to terminals only,
//! `NO_COLOR` and `--color` permitting. Text that comes from others never steers the terminal.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use console::{measure_text_width, pad_str, truncate_str};
use ganger_proto::json::to_line;
use owo_colors::{OwoColorize as _, Style};
use serde::{Deserialize, Serialize};

mod text;
pub mod words;

pub use text::{safe_block, safe_line};

/// How answers look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Aligned columns and sentences.
    #[default]
    Table,
    /// JSON Lines: one object for an answer, one for each thing that a stream brings. A message is
    /// written as grpcurl writes it after `jq -c`.
    Json,
}

/// The tool's voice.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
}

impl Output {
    /// A voice that speaks so.
    pub const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether answers are JSON.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Says a whole answer.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub fn answer<T: Serialize>(
        self,
        value: &T,
        for_people: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let mut stdout = anstream::stdout();
        stdout.write_all(self.answer_text(value, for_people)?.as_bytes())?;
        stdout.flush()
    }

    /// Says one thing of a stream; people may be spared it.
    ///
    /// # Errors
    /// Where stdout is gone.
    pub fn record<T: Serialize>(
        self,
        value: &T,
        for_people: impl FnOnce() -> Option<String>,
    ) -> io::Result<()> {
        let mut line = match self.format {
            Format::Json => to_line(value)?,
            Format::Table => match for_people() {
                Some(line) => line,
                None => return Ok(()),
            },
        };
        line.push('\n');
        let mut stdout = anstream::stdout();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()
    }

    /// Tells a person something beside the answer. JSON readers are spared it.
    pub fn note(self, text: &str) {
        if !self.is_json() {
            anstream::eprintln!("{text}");
        }
    }

    /// What [`Self::answer`] writes.
    ///
    /// # Errors
    /// Where the value has no JSON form.
    pub fn answer_text<T: Serialize>(
        self,
        value: &T,
        for_people: impl FnOnce() -> String,
    ) -> io::Result<String> {
        let mut text = match self.format {
            Format::Json => to_line(value)?,
            Format::Table => for_people(),
        };
        if !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
        }
        Ok(text)
    }
}

/// How wide a table on stdout may be; unset when it isn't a terminal.
pub fn stdout_width() -> Option<usize> {
    io::stdout()
        .is_terminal()
        .then(|| console::Term::stdout().size_checked())
        .flatten()
        .map(|(_, columns)| columns.into())
}

/// Aligned columns with a head, as wide as their content.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new(head: &[&str]) -> Self {
        let bold = Style::new().bold();
        Self {
            rows: vec![head.iter().map(|word| paint(word, bold)).collect()],
        }
    }

    /// Adds a row; its cells may be coloured, and must not hold line breaks.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The table as text, each line cut to `width` where that is given.
    pub fn text(&self, width: Option<usize>) -> String {
        let mut text = String::new();
        for line in self.lines(width) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The table's lines, the head first.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().map(|row| &row[column]);
                cells
                    .map(|cell| measure_text_width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        self.rows
            .iter()
            .map(|row| {
                let mut line = String::new();
                for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                    if column > 0 {
                        line.push_str("  ");
                    }
                    if column + 1 < columns {
                        line.push_str(&pad_str(cell, *width, console::Alignment::Left, None));
                    } else {
                        line.push_str(cell);
                    }
                }
                let line = line.trim_end();
                match width {
                    Some(width) => truncate_str(line, width, "…").into_owned(),
                    None => line.to_owned(),
                }
            })
            .collect()
    }
}

/// Named facts under each other, the values aligned. Those without a value are left out.
#[derive(Debug, Default)]
pub struct Facts {
    facts: Vec<(&'static str, String)>,
}

impl Facts {
    /// No facts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fact, unless its value is empty.
    pub fn add(&mut self, name: &'static str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push((name, value));
        }
        self
    }

    /// The facts as text. A value of several lines goes below its name, indented.
    pub fn text(&self) -> String {
        let bold = Style::new().bold();
        let width = self.facts.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or(0) + 2;
        let mut text = String::new();
        for (name, value) in &self.facts {
            let name = pad_str(name, width, console::Alignment::Left, None);
            let mut lines = value.trim_end_matches('\n').lines();
            let first = lines.next().unwrap_or_default();
            if value.trim_end_matches('\n').contains('\n') {
                let _ = writeln!(text, "{}", paint(name.trim_end(), bold));
                let _ = writeln!(text, "  {first}");
                for line in lines {
                    let _ = writeln!(text, "  {line}");
                }
            } else {
                let _ = writeln!(text, "{}{first}", paint(&name, bold));
            }
        }
        text
    }
}

/// The text in a style; output that isn't for a terminal strips it again.
pub fn paint(text: &str, style: Style) -> String {
    text.style(style).to_string()
}

/// The text, less prominent.
pub fn faint(text: &str) -> String {
    paint(text, Style::new().dimmed())
}

#[cfg(test)]
mod tests;
