//! The tools that read what a sub-agent wrote and left, page by page: read_transcript,
//! read_artifact.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ganger_proto::v1::{
    self, artifact_service_server::ArtifactService, delegation_service_server::DelegationService,
    task_service_server::TaskService,
};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::{
    args::{Object, arguments},
    bound::{self, PAGE_MAX},
    json::{self, Case},
    kinds::{Count, Id},
    refusal::{No, Refusal},
    registry::{Answer, Caller, Hints, Tool},
    team::either,
};

arguments! {
    /// read_transcript.
    ReadTranscript {
        /// The task's id.
        task_id = "task_id": Id,
        /// Which attempt; the latest when left out.
        attempt = "attempt": Option<Count>,
        /// The next_after_index of the last answer, to go on from there; from the beginning when
        /// left out.
        after_index = "after_index": Option<Count>,
        /// The next_offset of the last answer, where that ended within a long record.
        offset = "offset": Option<Count>,
        /// How many records at the most; as many as there is room for when left out.
        limit = "limit": Option<Count>,
    }
}

impl Tool for ReadTranscript {
    const NAME: &'static str = "read_transcript";
    const DESCRIPTION: &'static str = "\
Reads what the sub-agent of a task wrote while it ran: its output, errors and messages, in order, \
a page at a time.\n\
Use it to see how a running task gets on, or why one failed. Doesn't wait. There is more where \
the answer has next_after_index: give it as after_index.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let after = self.after_index.map_or(0, |index| i64::from(index.0));
        let request = caller.say(v1::WatchTranscriptRequest {
            team: caller.team.clone(),
            task_id: self.task_id.0,
            attempt: self.attempt.map_or(0, |attempt| attempt.0),
            after_index: after,
            no_follow: true,
            limit: 0,
        });
        let offset = self.offset.map_or(0, |offset| count(offset.0));
        let limit = self.limit.map_or(usize::MAX, |limit| count(limit.0).max(1));
        let mut page = Records::new(after, offset, limit);
        let mut stream = caller
            .services
            .watch_transcript(request)
            .await?
            .into_inner();
        while let Some(told) = stream.next().await {
            let told = told?;
            page.attempt = told.attempt;
            if told.records.into_iter().any(|record| !page.take(record)) {
                break;
            }
        }
        Ok(page.told(self.task_id))
    }
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// A page of records that is being filled.
struct Records {
    attempt: i32,
    /// The last index that was told whole.
    after: i64,
    /// From which character on the next record is told.
    offset: usize,
    limit: usize,
    told: Vec<Value>,
    text: String,
    len: usize,
    /// Where the reader goes on: after which record, and in the next from which character on.
    next: Option<(i64, usize)>,
}

impl Records {
    fn new(after: i64, offset: usize, limit: usize) -> Self {
        Self {
            attempt: 0,
            after,
            offset,
            limit,
            told: Vec::new(),
            text: String::new(),
            len: 0,
            next: None,
        }
    }

    /// Takes a record in, as far as there is room. Answers whether there is room for more.
    fn take(&mut self, mut record: v1::TranscriptRecord) -> bool {
        /// What a record takes beside its text.
        const OVERHEAD: usize = 160;
        let offset = std::mem::take(&mut self.offset);
        let need = bound::len(&record.text) + OVERHEAD;
        let has_room = self.told.is_empty() || self.len + need <= PAGE_MAX;
        if self.told.len() == self.limit || !has_room {
            self.next = Some((self.after, 0));
            return false;
        }
        let index = record.index;
        let part = bound::page(&record.text, offset);
        let (next, part) = (part.next, part.text.to_owned());
        record.text = part;
        let told = Value::Object(json::told(&record, Case::Snake));
        let kind = told["kind"].as_str().unwrap_or("output");
        let _ = writeln!(self.text, "[{index}] {kind}: {}", record.text.trim_end());
        self.len += bound::json_len(&told) + OVERHEAD;
        self.told.push(told);
        if let Some(next) = next {
            self.next = Some((self.after, next));
            return false;
        }
        self.after = index;
        true
    }

    fn told(mut self, task: Id) -> Answer {
        if self.told.is_empty() {
            self.text.push_str("There are no more records.");
        }
        let mut result = json!({
            "task_id": task.0.to_string(),
            "attempt": self.attempt,
            "records": self.told,
        });
        if let Some((after, offset)) = self.next {
            let _ = write!(self.text, "There is more: go on with after_index {after}");
            result["next_after_index"] = after.into();
            if offset > 0 {
                let _ = write!(self.text, " and offset {offset}");
                result["next_offset"] = offset.into();
            }
            self.text.push('.');
        }
        Answer::new(result, self.text.trim_end())
    }
}

arguments! {
    /// read_artifact.
    ReadArtifact {
        /// Which file: its SHA-256, as a task's outputs tell it.
        sha256 = "sha256": Option<String>,
        /// Instead of sha256: the task that left it.
        task_id = "task_id": Option<Id>,
        /// With task_id: its path among the task's outputs; may be left out where there is one.
        path = "path": Option<String>,
        /// The next_offset of the last answer, to go on from that byte.
        offset = "offset": Option<Count>,
    }
}

impl Tool for ReadArtifact {
    const NAME: &'static str = "read_artifact";
    const DESCRIPTION: &'static str = "\
Reads a file that a task left, or got as an input, a page at a time.\n\
Text is told as it is, anything else as content_base64. There is more where the answer has \
next_offset: give it as offset.";
    const HINTS: Hints = Hints::LOOKS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let offset = self.offset.map_or(0, |offset| i64::from(offset.0));
        let sha256 = match (self.sha256, self.task_id) {
            (Some(sha256), None) => sha256.trim().to_ascii_lowercase(),
            (None, Some(id)) => of_task(caller, id, self.path.as_deref()).await?,
            _ => return Err(either(Self::NAME, "sha256", "task_id").into()),
        };
        let request = caller.say(v1::GetArtifactRequest {
            sha256: sha256.clone(),
        });
        let found = caller.services.get_artifact(request).await?.into_inner();
        let size = found.artifact.unwrap_or_default().size;
        let request = caller.say(v1::DownloadArtifactRequest {
            sha256: sha256.clone(),
            offset,
            limit: i64::try_from(PAGE_MAX).unwrap_or(i64::MAX),
        });
        let mut stream = caller
            .services
            .download_artifact(request)
            .await?
            .into_inner();
        let mut bytes = Vec::new();
        while let Some(part) = stream.next().await {
            bytes.extend_from_slice(&part?.chunk);
        }
        Ok(content(&sha256, size, offset, &bytes))
    }
}

/// The hash of a file among a task's outputs and inputs.
async fn of_task(caller: &Caller, id: Id, path: Option<&str>) -> Result<String, No> {
    const NAMED_MAX: usize = 50;
    let request = caller.say(v1::GetTaskRequest {
        team: caller.team.clone(),
        task_id: id.0,
    });
    let task = caller.services.get_task(request).await?.into_inner();
    let task = task.task.unwrap_or_default();
    let files = || task.outputs.iter().chain(&task.inputs);
    let found = match (path, task.outputs.as_slice()) {
        (Some(path), _) => files().find(|file| file.path == path),
        (None, [one]) => Some(one),
        (None, _) => None,
    };
    if let Some(file) = found {
        return Ok(file.sha256.clone());
    }
    let paths: Vec<&str> = files()
        .take(NAMED_MAX)
        .map(|file| file.path.as_str())
        .collect();
    let mut facts = Object::new();
    facts.insert("task".into(), id.0.to_string().into());
    facts.insert("paths".into(), paths.join(", ").into());
    let (reason, next) = match paths.is_empty() {
        true => (
            "ARTIFACT_NOT_FOUND",
            "read its result with TaskGet, or its output with read_transcript",
        ),
        false => (
            "ARGUMENT_INVALID",
            "call read_artifact again with one of these as path",
        ),
    };
    let error = match (path, paths.is_empty()) {
        (_, true) => format!("task #{} has no files", id.0),
        (Some(path), _) => format!("path {path:?} is none of the files of task #{}", id.0),
        (None, _) => format!("path is missing: task #{} has several files", id.0),
    };
    Err(Refusal {
        error,
        reason: reason.to_owned(),
        next: next.to_owned(),
        facts,
    }
    .into())
}

/// A page of a file: as text where it is that.
fn content(sha256: &str, size: i64, offset: i64, bytes: &[u8]) -> Answer {
    /// Three bytes become four letters.
    const BINARY_MAX: usize = PAGE_MAX / 4 * 3;
    let is_page_full = bytes.len() == PAGE_MAX;
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // A letter that the page's end has cut through.
        Err(error) if error.error_len().is_none() && is_page_full => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let mut result = json!({"sha256": sha256, "size": size, "offset": offset});
    let (told, mut words) = match text {
        Some(text) => {
            let part = bound::page(text, 0).text;
            result["content"] = part.into();
            (part.len(), part.to_owned())
        }
        None => {
            let part = &bytes[..bytes.len().min(BINARY_MAX)];
            result["content_base64"] = BASE64_STANDARD.encode(part).into();
            let words = format!("{} bytes that are no text; see content_base64.", part.len());
            (part.len(), words)
        }
    };
    let next = offset.saturating_add(i64::try_from(told).unwrap_or(i64::MAX));
    if next < size {
        result["next_offset"] = next.into();
        let _ = write!(
            words,
            "\n[Bytes {offset} to {next} of {size}: go on with offset {next}.]"
        );
    }
    Answer::new(result, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::tool::listing::fits;

    fn record(index: i64, text: &str) -> v1::TranscriptRecord {
        v1::TranscriptRecord {
            index,
            kind: v1::TranscriptKind::Stdout.into(),
            text: text.into(),
            ..v1::TranscriptRecord::default()
        }
    }

    #[test]
    fn pages_of_a_transcript_put_together_are_the_transcript() {
        let long = "\u{1}é\"".repeat(8_000);
        let all: Vec<_> = (1..=300)
            .map(|index| match index {
                150 => record(index, &long),
                _ => record(index, &format!("line {index}\n").repeat(20)),
            })
            .collect();
        let mut read: Vec<String> = vec![String::new(); all.len()];
        let (mut after, mut offset, mut pages) = (0, 0, 0);
        loop {
            let mut page = Records::new(after, offset, usize::MAX);
            let rest = all.iter().filter(|record| record.index > after).cloned();
            let _ = rest.into_iter().all(|record| page.take(record));
            let answer = page.told(Id(7));
            assert!(fits(&answer), "page {pages}");
            for told in answer.result["records"].as_array().unwrap() {
                let index: usize = told["index"].as_str().unwrap().parse().unwrap();
                read[index - 1].push_str(told["text"].as_str().unwrap());
                assert_eq!(told["kind"], "stdout");
            }
            pages += 1;
            let number = |key| answer.result.get(key).and_then(Value::as_i64);
            offset = usize::try_from(number("next_offset").unwrap_or(0)).unwrap();
            match number("next_after_index") {
                Some(next) => after = next,
                None => break,
            }
        }
        let texts: Vec<&str> = all.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(read, texts);
        assert!((4..20).contains(&pages), "{pages} pages");
    }

    #[test]
    fn limit_of_records_is_kept() {
        let mut page = Records::new(0, 0, 2);
        let took: Vec<bool> = (1..=3).map(|index| page.take(record(index, "x"))).collect();

        assert_eq!(took, [true, true, false]);
        assert_eq!(page.told(Id(1)).result["next_after_index"], 2);
    }

    fn pages(file: &[u8]) -> Vec<Answer> {
        let size = i64::try_from(file.len()).unwrap();
        let (mut offset, mut pages) = (0, Vec::new());
        loop {
            let from = usize::try_from(offset).unwrap();
            let part = &file[from..(from + PAGE_MAX).min(file.len())];
            let answer = content("hash", size, offset, part);
            assert!(fits(&answer));
            let next = answer.result.get("next_offset").and_then(Value::as_i64);
            pages.push(answer);
            match next {
                Some(next) => offset = next,
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_of_a_text_put_together_are_the_text() {
        let text = "aé\u{1}😀\"".repeat(10_000);

        let read: String = pages(text.as_bytes())
            .iter()
            .map(|page| page.result["content"].as_str().unwrap())
            .collect();

        assert_eq!(read, text);
        assert_eq!(pages(b"")[0].result["content"], "");
    }

    #[test]
    fn pages_of_what_is_no_text_put_together_are_the_file() {
        // A byte that only goes on a character makes it no text.
        let file: Vec<u8> = (0x80..0xc0).cycle().take(100_000).collect();

        let mut read = Vec::new();
        for page in pages(&file) {
            let part = page.result["content_base64"].as_str().unwrap();
            read.extend(BASE64_STANDARD.decode(part).unwrap());
        }

        assert!(read == file);
    }
}
