//! What a worker reports, worked off without holding up the one who reads its stream.
//!
//! Records of a transcript are appended in the order in which they came. An attempt's end waits
//! until its transcript is on disk, and many may wait at once: each is a future of its own.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, pin::Pin};

use board::{
    command::EndReport,
    id::Fence,
    limits,
    refusal::Refusal,
    task::{Artifact, AttemptEnding},
};
use ganger_proto::v1::{self, connect_request::Message as Said, connect_response::Message as Told};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tonic::Status;

use super::{Services, from_wire, status, to_wire, transcript};
use crate::{
    artifacts::{ArtifactError, ArtifactStore, Digest, StoredArtifact},
    engine::{BLOCKER_RESULT_LEN_MAX, FleetInput, From, ReportReply},
    fleet::Heard,
    handle::Unavailable,
    transcripts::{AttemptKey, Extent},
};

/// Frames that wait to be worked off, beside what each slot may have under way. A worker keeps
/// 256 KiB of records in flight for an attempt, so that only one that doesn't keep to that can
/// fill it, and is cut off.
const WAITING_MAX: usize = 16_384;

/// Bytes of records that are appended at once, about: what waits of an attempt goes together.
const TOGETHER_MAX: usize = 256 * 1024;

/// Where the reader of a stream hands its reports.
pub struct Reports(mpsc::Sender<Said>);

impl Reports {
    /// A place for reports, and what works them off.
    pub fn new(
        services: Services,
        from: From,
        heard: Heard,
        slots: u32,
        acks: mpsc::Sender<Told>,
    ) -> (Self, Work) {
        let (sender, line) = mpsc::channel(WAITING_MAX);
        let work = Work {
            services,
            from,
            heard,
            acks,
            waiting: Waiting { line, next: None },
            pending_max: slots as usize * 4,
        };
        (Self(sender), work)
    }

    /// Hands a report on, without waiting.
    pub fn hand_on(&self, report: Said) -> Result<(), Status> {
        self.0
            .try_send(report)
            .map_err(|_| status::protocol("more reports are in flight than a worker may have"))
    }
}

/// Works reports off.
pub struct Work {
    services: Services,
    from: From,
    heard: Heard,
    acks: mpsc::Sender<Told>,
    waiting: Waiting,
    pending_max: usize,
}

/// The reports in line.
struct Waiting {
    line: mpsc::Receiver<Said>,
    /// What was taken out of line, and did not go together with what was before it.
    next: Option<Said>,
}

impl Waiting {
    /// The next one; none when the stream's reader is gone. Cancel safe.
    async fn next(&mut self) -> Option<Said> {
        match self.next.take() {
            Some(taken) => Some(taken),
            None => self.line.recv().await,
        }
    }

    /// Adds what waits already of the same attempt and follows on: a sub-agent that says much in
    /// small pieces costs no more for it.
    fn gather(&mut self, mut progress: v1::Progress) -> v1::Progress {
        let mut bytes = weight(&progress);
        while bytes < TOGETHER_MAX && self.next.is_none() {
            match self.line.try_recv() {
                Ok(Said::Progress(more)) if goes_on(&progress, &more) => {
                    bytes += weight(&more);
                    progress.records.extend(more.records);
                    progress.doing = more.doing.or(progress.doing);
                }
                Ok(other) => self.next = Some(other),
                // Nothing waits; that nothing will come any more is found out by who waits for it.
                Err(_) => break,
            }
        }
        progress
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

impl Work {
    /// Works until the stream's reader is gone, or something breaks.
    pub async fn run(mut self) -> Result<(), Status> {
        let mut pending = futures_util::stream::FuturesUnordered::<Pending>::new();
        loop {
            tokio::select! {
                Some(done) = pending.next(), if !pending.is_empty() => done?,
                report = self.waiting.next(), if pending.len() < self.pending_max => match report {
                    Some(report) => {
                        if let Some(work) = self.begin(report).await? {
                            pending.push(work);
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Does what is quick, and answers what may take longer.
    async fn begin(&mut self, report: Said) -> Result<Option<Pending>, Status> {
        let report = match report {
            Said::Progress(progress) => {
                let progress = self.waiting.gather(progress);
                self.append(progress).await?;
                return Ok(None);
            }
            Said::Started(started) => Report::Started(started),
            Said::Ended(ended) => Report::Ended(Box::new(ended)),
            Said::Refused(refused) => Report::Refused(refused),
            Said::Asked(asked) => Report::Asked(asked),
            Said::Heeded(heeded) => {
                self.heeded(&heeded)?;
                return Ok(None);
            }
            Said::Hello(_) | Said::Heartbeat(_) | Said::Draining(_) => return Ok(None),
        };
        if let Report::Ended(_) | Report::Refused(_) = report {
            self.heard.forget(&from_wire::fence(report.fence())?);
        }
        let (services, from, acks) = (self.services.clone(), self.from.clone(), self.acks.clone());
        Ok(Some(Box::pin(async move {
            services.report(from, report, acks).await
        })))
    }

    /// Not answered: what was not heeded for all that is known is said again on the next stream.
    fn heeded(&self, heeded: &v1::Heeded) -> Result<(), Status> {
        let fence = from_wire::fence(heeded.fence.as_ref())?;
        let through = u32::try_from(heeded.through).unwrap_or(0);
        let heeded = FleetInput::Heeded(self.from.clone(), fence, through);
        let told = self.services.handle.tell_fleet(heeded);
        told.map_err(status::unavailable)
    }

    async fn append(&mut self, progress: v1::Progress) -> Result<(), Status> {
        let fence = from_wire::fence(progress.fence.as_ref())?;
        let instance = self.from.instance;
        let counts = self
            .services
            .look(move |reader| reader.check_holder(&fence, instance))
            .await?;
        if let Err(refusal) = counts {
            let ack = ack(&fence, v1::ReportKind::Progress, Err(&refusal));
            return send(&self.acks, ack).await;
        }
        let doing = progress.doing.as_deref();
        if !progress.records.is_empty() || doing.is_some() {
            let now = self.services.clock.now();
            self.heard.note_progress(&fence, doing, now);
        }
        let key = transcript::key((fence.team, fence.task), fence.attempt);
        let extent = self.keep_records(key, &progress).await?;
        let ack = Told::ProgressAck(v1::ProgressAck {
            fence: Some(to_wire::fence(&fence)),
            kept_through: i64::try_from(extent.kept_through).unwrap_or(i64::MAX),
        });
        send(&self.acks, ack).await
    }

    /// Appends records, when there is room for them: until then they are not acknowledged, and the
    /// worker, whose credit is bounded, keeps them.
    async fn keep_records(
        &self,
        key: AttemptKey,
        progress: &v1::Progress,
    ) -> Result<Extent, Status> {
        let disk = &self.services.disk;
        loop {
            disk.until_writable().await;
            let keep = match disk.is_low() {
                true => transcript::kept_without_text,
                false => transcript::kept,
            };
            let records = progress.records.iter().map(keep).collect();
            match self.services.transcripts.append(key, records).await {
                Err(error) if error.is_disk_full() => disk.after_full().await,
                appended => return appended.map_err(|error| status::transcript(&error)),
            }
        }
    }
}

/// Whether a frame goes on where another of the same attempt ends.
fn goes_on(progress: &v1::Progress, more: &v1::Progress) -> bool {
    let (last, first) = (progress.records.last(), more.records.first());
    let ends = last.zip(first);
    let follows = |(last, first): (&v1::TranscriptRecord, &v1::TranscriptRecord)| {
        last.index.checked_add(1) == Some(first.index)
    };
    progress.fence == more.fence && ends.is_some_and(follows)
}

/// About how many bytes a frame's records are on disk.
fn weight(progress: &v1::Progress) -> usize {
    const HEADER: usize = 64;
    let records = progress.records.iter();
    records.map(|record| record.text.len() + HEADER).sum()
}

/// A report that is answered.
enum Report {
    Started(v1::Started),
    Ended(Box<v1::Ended>),
    Refused(v1::Refused),
    Asked(v1::Asked),
}

impl Report {
    fn fence(&self) -> Option<&v1::Fence> {
        match self {
            Self::Started(started) => started.fence.as_ref(),
            Self::Ended(ended) => ended.fence.as_ref(),
            Self::Refused(refused) => refused.fence.as_ref(),
            Self::Asked(asked) => asked.fence.as_ref(),
        }
    }
}

impl Services {
    async fn report(
        &self,
        from: From,
        report: Report,
        acks: mpsc::Sender<Told>,
    ) -> Result<(), Status> {
        let (kind, fence, reply) = match report {
            Report::Started(started) => {
                let fence = from_wire::fence(started.fence.as_ref())?;
                let run_limit = started.run_limit.as_ref();
                let run_limit = run_limit.map(|span| from_wire::span("run_limit", span));
                let run_limit = run_limit.transpose()?;
                let make = |reply| FleetInput::Started {
                    from: from.clone(),
                    fence,
                    run_limit,
                    reply,
                };
                (v1::ReportKind::Started, fence, self.bring(make).await)
            }
            Report::Refused(refused) => {
                let fence = from_wire::fence(refused.fence.as_ref())?;
                let reason: String = refused.reason.chars().take(500).collect();
                let reason: std::sync::Arc<str> = reason.into();
                let make = |reply| FleetInput::Refused {
                    from: from.clone(),
                    fence,
                    reason: reason.clone(),
                    reply,
                };
                (v1::ReportKind::Refused, fence, self.bring(make).await)
            }
            Report::Asked(asked) => {
                let (fence, reply) = self.asked(from, asked).await?;
                (v1::ReportKind::Asked, fence, reply)
            }
            Report::Ended(ended) => {
                let fence = from_wire::fence(ended.fence.as_ref())?;
                let reply = self.ended(from, fence, *ended).await?;
                (v1::ReportKind::Ended, fence, reply)
            }
        };
        let reply = reply.map_err(status::unavailable)?;
        if let Err(failure @ Refusal::ReadFailed { .. }) = &reply {
            // Not an answer: the worker says it again on its next stream.
            return Err(status::refusal(failure));
        }
        send(&acks, ack(&fence, kind, reply.as_ref().copied())).await
    }

    /// Brings a report before the board, when that can keep it: until then the worker holds it, and
    /// nothing is lost by waiting.
    async fn bring(
        &self,
        make: impl Fn(oneshot::Sender<ReportReply>) -> FleetInput,
    ) -> Result<ReportReply, Unavailable> {
        loop {
            match self.handle.report(&make).await {
                Ok(Err(Refusal::DiskLow)) => self.disk.after_full().await,
                reply => return reply,
            }
        }
    }

    /// Brings a question before the board.
    async fn asked(
        &self,
        from: From,
        asked: v1::Asked,
    ) -> Result<(Fence, Result<ReportReply, Unavailable>), Status> {
        let fence = from_wire::fence(asked.fence.as_ref())?;
        let (number, text, timeout) = from_wire::question(asked);
        let make = |reply| FleetInput::Asked {
            from: from.clone(),
            fence,
            number,
            text: text.clone(),
            timeout,
            reply,
        };
        Ok((fence, self.bring(make).await))
    }

    /// Brings an attempt's end before the board, when everything that belongs to it is on disk.
    async fn ended(
        &self,
        from: From,
        fence: Fence,
        ended: v1::Ended,
    ) -> Result<Result<ReportReply, Unavailable>, Status> {
        let key = transcript::key((fence.team, fence.task), fence.attempt);
        // A report that is none still ends its attempt: a worker would repeat it for ever.
        let mut report = from_wire::end_report(ended)
            .unwrap_or_else(|status| failed(format!("the worker's report {}", status.message())));
        check_paths(&mut report);
        self.keep_result(&mut report).await?;
        self.check_outputs(&mut report).await?;
        self.transcripts
            .sync(key)
            .await
            .map_err(|error| status::transcript(&error))?;
        let make = |reply| FleetInput::Ended {
            from: from.clone(),
            fence,
            report: Box::new(report.clone()),
            reply,
        };
        let reply = self.bring(make).await;
        if let Ok(Ok(())) = reply {
            self.transcripts
                .close(key)
                .await
                .map_err(|error| status::transcript(&error))?;
        }
        Ok(reply)
    }

    /// A result that is too long to go along with assignments whole is kept as an artifact, too.
    async fn keep_result(&self, report: &mut EndReport) -> Result<(), Status> {
        const PATH: &str = "result.md";
        let is_there = report.outputs.iter().any(|output| &*output.path == PATH);
        if report.result.len() <= BLOCKER_RESULT_LEN_MAX || is_there {
            return Ok(());
        }
        let stored = loop {
            self.disk.until_writable().await;
            let (artifacts, result) = (self.artifacts.clone(), report.result.clone());
            match self
                .block(move || store_result(&artifacts, &result))
                .await?
            {
                Err(error) if error.is_disk_full() => self.disk.after_full().await,
                stored => break stored.map_err(|error| status::artifact(&error))?,
            }
        };
        report.outputs.push(Artifact {
            digest: board::id::Digest(*stored.digest.as_bytes()),
            path: PATH.into(),
            size: stored.bytes,
        });
        Ok(())
    }

    /// Outputs that were never uploaded can't be given to anybody: the attempt failed then.
    async fn check_outputs(&self, report: &mut EndReport) -> Result<(), Status> {
        for at in 0..report.outputs.len() {
            let digest = Digest::from(report.outputs[at].digest.0);
            let artifacts = self.artifacts.clone();
            match self.block(move || artifacts.hold(&digest)).await? {
                Ok(size) => report.outputs[at].size = size,
                // A failure to look is not an answer: the worker reports again.
                Err(error @ ArtifactError::Io { .. }) => return Err(status::artifact(&error)),
                Err(error) => {
                    let path = &report.outputs[at].path;
                    let why = format!("output {path:?} was not uploaded: {error}");
                    fail(report, why);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// It belongs to an end, which is taken as long as anything is.
fn store_result(artifacts: &ArtifactStore, result: &str) -> Result<StoredArtifact, ArtifactError> {
    let mut upload = artifacts.upload()?.drawing_on_reserve();
    upload.append(result.as_bytes())?;
    upload.finish(None)
}

/// The paths of outputs go on to the workers of dependants, which lay them into sandboxes: one
/// that leads elsewhere, or comes twice, would fail those. So it is this attempt that failed. The
/// report is not refused: its worker would repeat it for ever.
fn check_paths(report: &mut EndReport) {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    let mut paths = BTreeSet::new();
    let bad = report
        .outputs
        .iter()
        .map(|output| &output.path)
        .find(|path| {
            let is_sound =
                path.len() <= limits::ARTIFACT_PATH_LEN_MAX && path.split('/').all(is_plain);
            !is_sound || !paths.insert((*path).clone())
        });
    if let Some(path) = bad {
        let shown: String = path.chars().take(100).collect();
        let why = format!("output {shown:?} has a path that is not plain, too long or there twice");
        fail(report, why);
    }
}

/// Makes of an end with outputs that can't be kept one that failed.
fn fail(report: &mut EndReport, why: String) {
    report.error = why.into();
    report.ending = AttemptEnding::Failed;
    report.outputs.clear();
}

fn failed(error: String) -> EndReport {
    EndReport {
        ending: AttemptEnding::Failed,
        result: "".into(),
        error: error.into(),
        stop_reason: None,
        outputs: Vec::new(),
        usage: board::task::Usage::default(),
    }
}

/// A report that is refused for another reason than that its attempt is over doesn't end the
/// attempt: a question that came when the sub-agent was to stop, or that is none.
fn ack(fence: &Fence, kind: v1::ReportKind, taken: Result<(), &Refusal>) -> Told {
    Told::ReportAck(v1::ReportAck {
        fence: Some(to_wire::fence(fence)),
        kind: kind.into(),
        accepted: match kind {
            v1::ReportKind::Asked => !matches!(taken, Err(Refusal::Stale { .. })),
            _ => taken.is_ok(),
        },
        reason: taken.err().map(ToString::to_string).unwrap_or_default(),
    })
}

async fn send(acks: &mpsc::Sender<Told>, ack: Told) -> Result<(), Status> {
    acks.send(ack)
        .await
        .map_err(|_| status::protocol("the worker does not read"))
}
