//! How long an answer may be, and what becomes of one that is longer.
//!
//! Hosts of models cut an answer of more than about 64 KiB, or refuse it. So an answer has room for
//! [`JSON_MAX`] of JSON and as much text, which tell the same. A tool that has more to tell cuts
//! long texts and ends lists early, says so, and says how to read on. [`whole`] is what holds for
//! every tool, whatever it forgot.

use std::borrow::Cow;

use ganger_proto::v1;
use serde_json::{Value, json};

use super::{args::Object, json, refusal::Refusal, registry::Answer};

/// Bytes of an answer's JSON at the most.
pub const JSON_MAX: usize = 30 * 1024;

/// Bytes of an answer's text at the most, as JSON writes it.
pub const TEXT_MAX: usize = 30 * 1024;

/// Bytes of the long texts of an answer: what is left is for all else.
pub const TEXTS_MAX: usize = 20 * 1024;

/// Bytes of one page of a text.
pub const PAGE_MAX: usize = 24 * 1024;

/// Bytes that a text keeps in any case, so that it can be recognized.
const KEPT: usize = 80;

/// A text of which only a part is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Whose: `result`.
    pub field: &'static str,
    /// How many characters of it are told.
    pub shown: usize,
    /// How many it has.
    pub of: usize,
}

impl Cut {
    /// The same as JSON.
    pub fn told(&self) -> Value {
        json!({"field": self.field, "characters_shown": self.shown, "characters": self.of})
    }
}

/// How many bytes JSON needs for a letter.
fn len_of(letter: char) -> usize {
    match letter {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

/// How many bytes JSON needs for a text, without its quotes.
pub fn len(text: &str) -> usize {
    text.chars().map(len_of).sum()
}

/// The longest beginning of a text for which JSON needs no more than `max` bytes, and how many
/// characters that is.
pub fn beginning(text: &str, max: usize) -> (&str, usize) {
    let (mut taken, mut chars) = (0, 0);
    for (at, letter) in text.char_indices() {
        taken += len_of(letter);
        if taken > max {
            return (&text[..at], chars);
        }
        chars += 1;
    }
    (text, chars)
}

/// A part of a text that fits onto a page: from a character on.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'t> {
    /// The part.
    pub text: &'t str,
    /// The character after it; none where it ends the text.
    pub next: Option<usize>,
    /// How many characters the text has.
    pub of: usize,
}

/// The page of a text that begins at a character.
pub fn page(text: &str, offset: usize) -> Page<'_> {
    let from = text.char_indices().nth(offset).map(|(at, _)| at);
    let rest = &text[from.unwrap_or(text.len())..];
    let (part, chars) = beginning(rest, PAGE_MAX);
    let next = (part.len() < rest.len()).then(|| offset + chars);
    Page {
        text: part,
        next,
        of: text.chars().count(),
    }
}

/// How much each of these may take, so that all together take no more than `max`: the small ones
/// what they need, the others the same.
fn shares(needs: &[usize], max: usize) -> Vec<usize> {
    let mut by_need: Vec<usize> = (0..needs.len()).collect();
    by_need.sort_by_key(|at| needs[*at]);
    let mut shares = vec![0; needs.len()];
    let mut left = max;
    for (done, at) in by_need.into_iter().enumerate() {
        let share = left / (needs.len() - done);
        shares[at] = needs[at].min(share);
        left -= shares[at];
    }
    shares
}

/// Cuts the longest of these texts, so that all together take no more than `max` bytes. What is
/// cut ends with a word about it.
fn cut_texts(texts: &mut [(&'static str, &mut String)], max: usize) -> Vec<Cut> {
    let needs: Vec<usize> = texts.iter().map(|(_, text)| len(text)).collect();
    let shares = shares(&needs, max);
    let mut cuts = Vec::new();
    for (at, (field, text)) in texts.iter_mut().enumerate() {
        if needs[at] <= shares[at] {
            continue;
        }
        let of = text.chars().count();
        let (part, shown) = beginning(text, shares[at].max(KEPT));
        if shown < of {
            **text = format!("{part}… [{shown} of {of} characters]");
            cuts.push(Cut { field, shown, of });
        }
    }
    cuts
}

/// Cuts the long texts of tasks, so that an answer has room for all of these tasks. Answers for
/// each what was cut of it.
pub fn cut_tasks(tasks: &mut [v1::Task], max: usize) -> Vec<Vec<Cut>> {
    let mut metadata: Vec<String> = tasks.iter().map(metadata_text).collect();
    let needs: Vec<usize> = tasks
        .iter()
        .zip(&metadata)
        .map(|(task, metadata)| {
            len(metadata)
                + texts(&mut task.clone())
                    .iter()
                    .map(|(_, text)| len(text))
                    .sum::<usize>()
        })
        .collect();
    let shares = shares(&needs, max);
    let mut cuts = Vec::new();
    for (at, task) in tasks.iter_mut().enumerate() {
        if needs[at] <= shares[at] {
            cuts.push(Vec::new());
            continue;
        }
        let mut texts = texts(task);
        texts.push(("metadata", &mut metadata[at]));
        let cut = cut_texts(&mut texts, shares[at]);
        if cut.iter().any(|cut| cut.field == "metadata") {
            // Half an object is none.
            task.metadata = None;
        }
        cuts.push(cut);
    }
    cuts
}

/// Cuts the long texts of one task.
pub fn cut_task(task: &mut v1::Task) -> Vec<Cut> {
    cut_tasks(std::slice::from_mut(task), TEXTS_MAX).remove(0)
}

fn texts(task: &mut v1::Task) -> Vec<(&'static str, &mut String)> {
    let mut texts = vec![
        ("description", &mut task.description),
        ("prompt", &mut task.prompt),
        ("result", &mut task.result),
        ("error", &mut task.error),
    ];
    if let Some(question) = &mut task.question {
        texts.push(("question", &mut question.text));
    }
    texts
}

/// A task's metadata as JSON; nothing where it has none.
pub fn metadata_text(task: &v1::Task) -> String {
    let metadata = task.metadata.clone().and_then(json::of_struct);
    metadata.map_or_else(String::new, |metadata| Value::Object(metadata).to_string())
}

/// Adds to an answer about a task what of it was cut, and how to read on.
pub fn tell_cuts(result: &mut Object, text: &mut String, task_id: u64, cuts: &[Cut]) {
    if cuts.is_empty() {
        return;
    }
    result.insert("cut".into(), cuts.iter().map(Cut::told).collect());
    for Cut { field, shown, of } in cuts {
        text.push_str(&format!(
            "\nCut: {shown} of {of} characters of {field}. Read on with TaskGet: taskId {task_id}, \
             field {field}, offset {shown}."
        ));
    }
}

/// The answer, or as much of it as there is room for.
pub fn whole(mut answer: Answer) -> Answer {
    let is_cut = shorten(&mut answer.result);
    answer.text = shortened(answer.text, is_cut);
    answer
}

/// The same of a refusal.
pub fn refusal(refusal: Refusal) -> (Object, String) {
    let (mut result, text) = refusal.told();
    let is_cut = shorten(&mut result);
    (result, shortened(text, is_cut))
}

fn shorten(result: &mut Object) -> bool {
    let mut value = Value::Object(std::mem::take(result));
    let is_cut = json_len(&value) > JSON_MAX;
    if is_cut {
        shrink(&mut value, JSON_MAX - 64);
        value["answer_cut"] = true.into();
    }
    if let Value::Object(object) = value {
        *result = object;
    }
    is_cut
}

fn shortened(text: String, is_json_cut: bool) -> String {
    const NOTE: &str = "\n[This answer was too long and is cut. Ask for less at once: fewer tasks, \
                        a filter, or one task by TaskGet.]";
    let (part, _) = beginning(&text, TEXT_MAX - len(NOTE));
    match is_json_cut || part.len() < text.len() {
        true => format!("{part}{NOTE}"),
        false => text,
    }
}

/// How many bytes JSON needs for a value.
pub fn json_len(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => len(text) + 2,
        Value::Array(items) => items.iter().map(|item| json_len(item) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(key, value)| field_len(key) + json_len(value))
                .sum::<usize>()
                + 2
        }
    }
}

fn field_len(key: &str) -> usize {
    len(key) + 4
}

/// Makes a value so short: texts and lists end early, and the longest first. What is small stays.
fn shrink(value: &mut Value, max: usize) {
    if json_len(value) <= max {
        return;
    }
    match value {
        Value::String(text) => {
            let (part, _) = beginning(text, max.saturating_sub(5));
            *text = format!("{part}…");
        }
        Value::Array(items) => {
            let mut left = max.saturating_sub(2);
            let fit = items.iter().take_while(|item| {
                let need = json_len(item) + 1;
                let fits = need <= left;
                left = left.saturating_sub(need);
                fits
            });
            let fit = fit.count();
            items.truncate(fit.max(1));
            if fit == 0
                && let Some(first) = items.first_mut()
            {
                shrink(first, max.saturating_sub(3));
            }
        }
        Value::Object(fields) => {
            // Where the keys alone are too much, the last ones go.
            const VALUE_MIN: usize = 8;
            let mut left = max;
            let fit = fields.keys().take_while(|key| {
                let need = field_len(key) + VALUE_MIN;
                let fits = need <= left;
                left = left.saturating_sub(need);
                fits
            });
            let fit = fit.count();
            let gone: Vec<String> = fields.keys().skip(fit).cloned().collect();
            for key in gone {
                fields.remove(&key);
            }
            let keys: usize = fields.keys().map(|key| field_len(key)).sum();
            let needs: Vec<usize> = fields.values().map(json_len).collect();
            let shares = shares(&needs, max.saturating_sub(keys + 2));
            for (field, share) in fields.values_mut().zip(shares) {
                shrink(field, share);
            }
        }
        // Nothing of these is long.
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text in an error or a sentence, not all of a long one.
pub fn brief(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: Value, text: &str) -> Answer {
        whole(Answer::new(result, text))
    }

    #[test]
    fn short_answer_stays_as_it_is() {
        let same = answer(json!({"a": [1, "é"], "b": null}), "text");

        assert_eq!(
            Value::Object(same.result),
            json!({"a": [1, "é"], "b": null})
        );
        assert_eq!(same.text, "text");
    }

    #[test]
    fn every_answer_is_within_the_bound_and_says_that_it_is_cut() {
        let long = "\u{1}\"ü\n".repeat(100_000);
        let many: Vec<Value> = (0..5_000).map(|n| json!({"id": n, "line": "x"})).collect();
        let keys: Object = (0..300).map(|n| (format!("k{n}"), json!(long))).collect();
        for result in [
            json!({"text": long}),
            json!({"ok": true, "many": many}),
            json!({"deep": {"deep": [{"text": long, "list": [long]}]}}),
            json!({"keys": keys}),
        ] {
            let cut = answer(result, &long);

            let json = Value::Object(cut.result.clone()).to_string();
            assert!(json.len() <= JSON_MAX, "{} bytes", json.len());
            assert!(json.len() > JSON_MAX / 2, "{} bytes", json.len());
            assert_eq!(cut.result["answer_cut"], true);
            let text = Value::String(cut.text.clone()).to_string();
            assert!(text.len() <= TEXT_MAX + 2, "{} bytes", text.len());
            assert!(cut.text.ends_with("by TaskGet.]"));
        }
        let small = answer(json!({"ok": true, "many": many}), "");
        assert_eq!(small.result["ok"], true);
        assert_eq!(small.result["many"][0], json!({"id": 0, "line": "x"}));
    }

    #[test]
    fn pages_of_a_text_put_together_are_the_text() {
        let text = "aé\u{1}😀\"".repeat(20_000);
        let (mut read, mut offset) = (String::new(), Some(0));
        while let Some(at) = offset {
            let page = page(&text, at);
            assert!(!page.text.is_empty() && len(page.text) <= PAGE_MAX);
            assert_eq!(page.of, 100_000);
            read.push_str(page.text);
            offset = page.next;
        }
        assert_eq!(read, text);

        let past = page(&text, 1_000_000);
        assert_eq!((past.text, past.next), ("", None));
    }

    #[test]
    fn only_the_long_texts_of_tasks_are_cut_and_each_says_how_far_it_is_told() {
        let mut tasks = vec![
            v1::Task {
                description: "short".into(),
                result: "r".repeat(200_000),
                ..v1::Task::default()
            },
            v1::Task {
                error: "as long as it may be".into(),
                ..v1::Task::default()
            },
        ];

        let cuts = cut_tasks(&mut tasks, 10_000);

        let shown = cuts[0][0].shown;
        assert!((9_000..10_000).contains(&shown), "{shown}");
        let told = Cut {
            field: "result",
            shown,
            of: 200_000,
        };
        assert_eq!(cuts, [vec![told], vec![]]);
        assert_eq!(tasks[0].description, "short");
        let end = format!("r… [{shown} of 200000 characters]");
        assert!(tasks[0].result.ends_with(&end));
        assert_eq!(tasks[1].error, "as long as it may be");
    }

    #[test]
    fn metadata_that_is_too_long_is_left_out_rather_than_halved() {
        let metadata = json!({"k": "x".repeat(60_000)});
        let Value::Object(metadata) = metadata else {
            panic!("no object");
        };
        let mut task = v1::Task {
            metadata: Some(json::to_struct(metadata)),
            result: "short".into(),
            ..v1::Task::default()
        };

        let cuts = cut_task(&mut task);

        assert_eq!(cuts[0].field, "metadata");
        assert_eq!(task.metadata, None);
        assert_eq!(task.result, "short");
    }
}
