//! Reading a TOML table key by key, so that all problems come out at once.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// A table whose keys are taken one by one; what is left at the end is unknown.
pub(super) struct Section {
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Section {
    /// The file itself.
    pub(super) fn root(table: Table) -> Self {
        Self::of(String::new(), table)
    }

    fn of(path: String, table: Table) -> Self {
        Self {
            path,
            table,
            known: Vec::new(),
        }
    }

    /// A key's full name, for messages.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Takes a value; one of another type is a problem.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        problems: &mut Vec<String>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.remove(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(format!("{}: {}", self.name(key), error.message()));
                None
            }
        }
    }

    /// Takes a table within; none if it isn't there.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let name = self.name(key);
        let table: Table = self.take(key, problems)?;
        Some(Self::of(name, table))
    }

    /// Takes a table of tables, by name.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        problems: &mut Vec<String>,
    ) -> Vec<(String, Self)> {
        let name = self.name(key);
        let mut sections = Vec::new();
        for (inner, value) in self.take::<Table>(key, problems).unwrap_or_default() {
            let path = format!("{name}.{inner}");
            match value {
                Value::Table(table) => sections.push((inner, Self::of(path, table))),
                _ => problems.push(format!("{path}: expected a table")),
            }
        }
        sections
    }

    /// Whatever was not taken is a problem.
    pub(super) fn finish(self, problems: &mut Vec<String>) {
        for key in self.table.keys() {
            problems.push(format!(
                "{}: unknown key (there are: {})",
                self.name(key),
                self.known.join(", ")
            ));
        }
    }
}
