//! Which modules name each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{File, production};

/// The modules that the `use` lines and paths of some code name right behind a prefix such as
/// `super::`.
fn named(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let is_path =
            code[..at].ends_with(|before: char| before.is_alphanumeric() || before == ':');
        if is_path {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list,
            None => {
                names.extend(first_name(rest));
                continue;
            }
        };
        let (mut depth, mut begins_item) = (0_usize, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins_item = true,
                _ if begins_item && !c.is_whitespace() => {
                    names.extend(first_name(&list[at..]));
                    begins_item = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The modules right below a directory, each with those beside it that it names behind a prefix.
fn modules(directory: &str, prefix: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for File { path, code } in production(directory) {
        let below = path[directory.len()..].trim_start_matches('/');
        let module = below.split('/').next().unwrap_or(below);
        let module = module.trim_end_matches(".rs").to_owned();
        if !matches!(module.as_str(), "lib" | "main") {
            modules
                .entry(module)
                .or_default()
                .extend(named(&code, prefix));
        }
    }
    let all: BTreeSet<String> = modules.keys().cloned().collect();
    for (module, named) in &mut modules {
        named.retain(|other| other != module && all.contains(other));
    }
    modules
}

/// Those modules of a directory that lie on a circle, or lead into one: what is left when again and
/// again those are taken away that name none of the rest.
pub fn circle(directory: &str, prefix: &str) -> Vec<String> {
    let mut left = modules(directory, prefix);
    assert!(left.len() > 10, "{directory} has modules");
    loop {
        let there: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|_, named| named.iter().any(|other| there.contains(other)));
        if left.len() == there.len() {
            let told = |(module, named): (String, BTreeSet<String>)| {
                let named: Vec<String> =
                    named.into_iter().filter(|it| there.contains(it)).collect();
                format!("{module} names {}", named.join(", "))
            };
            return left.into_iter().map(told).collect();
        }
    }
}

#[test]
fn modules_are_found_in_lists_and_in_paths() {
    let code = "use super::{\n    calls, ending::{self, Ending},\n    mail::Room as Free,\n};\n\
                use super::update;\nfn f() { super::tick::tick(); crate::super::no::no() }";

    let found: Vec<String> = named(code, "super::").into_iter().collect();

    assert_eq!(found, ["calls", "ending", "mail", "tick", "update"]);
}
