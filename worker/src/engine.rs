//! The one task that owns a worker's agenda, transcripts and attempts: it waits, tells the agenda
//! what happened, and does what the agenda says.
//!
//! It never waits for an attempt or for the wire: what doesn't fit a lane stays where it is owed,
//! and is said when there is room.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use ganger_proto::v1::{ConnectResponse, ReportKind, TranscriptKind};
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::sleep_until,
};

use self::saying::{Attempt, Control};
use crate::{
    RunError,
    agenda::{Action, Agenda, Outcome, Word},
    attempt::{self, Ground, Job, Notice, Order},
    clock::{self, given_or},
    config::Config,
    fence::Fence,
    hello::Introduction,
    limits::{HEARTBEAT_INTERVAL, LEASE_SPAN, NOTICES_LEN, PROTOCOL_WITH_WORDS},
    sandbox::BoxFuture,
    session::{self, Backoff, DialError, Door, Link},
    shutdown::{self, Shutdown},
    transcript::Piece,
};

mod hearing;
mod leaving;
mod saying;

/// How it stands with the coordinator.
enum Connection {
    /// Dials when it is time.
    Waiting { until: Instant },
    /// Shakes hands.
    Dialing(BoxFuture<'static, Result<Box<Link>, DialError>>),
    /// The stream is up; it was last heard of then.
    Up {
        link: Box<Link>,
        heard_at: Instant,
        silence_max: Duration,
    },
}

/// What the engine waits for.
enum Event {
    Shutdown(shutdown::Stage),
    Dialed(Result<Box<Link>, DialError>),
    Frames(Result<Vec<ConnectResponse>, tonic::Status>),
    Notice(Notice),
    AttemptOver(Result<(Id, (Fence, Outcome)), JoinError>),
    Room,
    Time,
}

/// See the head of this file.
pub(crate) struct Engine {
    config: Config,
    door: Door,
    ground: Arc<Ground>,
    introduction: Introduction,
    agenda: Agenda,
    attempts: BTreeMap<Fence, Attempt>,
    /// Assignments that were taken and not begun to be prepared.
    jobs: BTreeMap<Fence, Job>,
    running: JoinSet<(Fence, Outcome)>,
    running_ids: HashMap<Id, Fence>,
    notices: (mpsc::Sender<Notice>, mpsc::Receiver<Notice>),
    shutdown: watch::Receiver<shutdown::Stage>,
    connection: Connection,
    backoff: Backoff,
    was_ever_up: bool,
    control: VecDeque<Control>,
    /// Attempts that have something to say, first come first served.
    talkers: VecDeque<Fence>,
    /// Why it drains, once it does.
    drain_reason: String,
}

impl Engine {
    /// An engine that dials as soon as it runs.
    pub(crate) fn new(
        config: Config,
        door: Door,
        ground: Ground,
        introduction: Introduction,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            agenda: Agenda::new(config.slots, config.drain_span),
            door,
            ground: Arc::new(ground),
            introduction,
            attempts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            running: JoinSet::new(),
            running_ids: HashMap::new(),
            notices: mpsc::channel(NOTICES_LEN),
            shutdown: shutdown.subscribe(),
            connection: Connection::Waiting {
                until: clock::now(),
            },
            backoff: Backoff::default(),
            was_ever_up: false,
            control: VecDeque::new(),
            talkers: VecDeque::new(),
            drain_reason: String::new(),
            config,
        }
    }

    /// Serves until it is shut down, or there is no coordinator to serve.
    pub(crate) async fn run(mut self) -> Result<(), RunError> {
        let served = self.serve().await;
        self.abort().await;
        served
    }

    async fn serve(&mut self) -> Result<(), RunError> {
        loop {
            let now = clock::now();
            for action in self.agenda.settle(now) {
                self.act(action);
            }
            self.ground.tools.lease_ends(self.agenda.lease_until());
            self.say();
            if self.agenda.may_leave(now) {
                tracing::info!(unsettled = self.agenda.len(), "drained");
                return Ok(());
            }
            match self.wait().await {
                Event::Shutdown(shutdown::Stage::Now) => return Ok(()),
                event => self.take(event)?,
            }
        }
    }

    async fn wait(&mut self) -> Event {
        let deadline = self.next_deadline();
        let is_stuck = (!self.control.is_empty(), !self.talkers.is_empty());
        let Self {
            shutdown,
            connection,
            notices,
            running,
            ..
        } = self;
        tokio::select! {
            biased;
            Ok(()) = shutdown.changed() => Event::Shutdown(*shutdown.borrow_and_update()),
            event = connection.next(is_stuck) => event,
            Some(notice) = notices.1.recv() => Event::Notice(notice),
            Some(over) = running.join_next_with_id() => Event::AttemptOver(over),
            () = sleep_until(deadline.into()) => Event::Time,
        }
    }

    fn take(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Shutdown(stage) => self.shut_down(stage),
            Event::Dialed(Ok(link)) => self.connected(link),
            Event::Dialed(Err(error)) => self.not_connected(error)?,
            Event::Frames(Ok(frames)) => self.hear(frames),
            Event::Frames(Err(status)) => self.disconnected(status.message(), None),
            Event::Notice(notice) => {
                self.notice(notice);
                while let Ok(notice) = self.notices.1.try_recv() {
                    self.notice(notice);
                }
            }
            Event::AttemptOver(over) => self.attempt_over(over),
            Event::Room => {}
            Event::Time => self.watch_connection(),
        }
        Ok(())
    }

    /// When something is due though nothing happens.
    fn next_deadline(&self) -> Instant {
        /// Looking once too often costs nothing.
        const LOOK_AGAIN: Duration = Duration::from_secs(60);
        let connection = match &self.connection {
            Connection::Waiting { until } => Some(*until),
            Connection::Dialing(_) => None,
            Connection::Up {
                heard_at,
                silence_max,
                ..
            } => Some(*heard_at + *silence_max),
        };
        let due = connection
            .into_iter()
            .chain(self.agenda.next_deadline())
            .min();
        due.unwrap_or_else(|| clock::now() + LOOK_AGAIN)
    }

    // The connection.

    fn watch_connection(&mut self) {
        let now = clock::now();
        match &self.connection {
            Connection::Waiting { until } if now >= *until => self.dial(),
            Connection::Up {
                heard_at,
                silence_max,
                ..
            } if now >= *heard_at + *silence_max => {
                self.disconnected("the coordinator keeps silent", None);
            }
            _ => {}
        }
    }

    fn dial(&mut self) {
        let hello = self.introduction.hello(&self.config, &self.agenda);
        let dialing = session::dial(self.door.clone(), hello);
        self.connection = Connection::Dialing(Box::pin(async { dialing.await.map(Box::new) }));
    }

    fn connected(&mut self, mut link: Box<Link>) {
        let lease_span = given_or(link.welcome.lease_span.as_ref(), LEASE_SPAN);
        tracing::info!(
            coordinator = self.config.coordinator,
            session = link.session,
            version = link.welcome.version,
            "connected"
        );
        let mut verdicts = Vec::with_capacity(link.welcome.verdicts.len());
        for verdict in &mut link.welcome.verdicts {
            let Some(fence) = verdict.fence.clone().map(Fence::from) else {
                continue;
            };
            if !verdict.keep {
                tracing::warn!(attempt = %fence, reason = verdict.reason, "attempt is no longer this worker's");
            }
            if let Some(attempt) = self.attempts.get_mut(&fence).filter(|_| verdict.keep) {
                attempt.transcript.resume(verdict.kept_through);
                let secret = std::mem::take(&mut verdict.secret);
                self.ground.secrets.keep(&fence, secret);
            }
            verdicts.push((fence, verdict.keep));
        }
        let hears_questions = link.protocol >= PROTOCOL_WITH_WORDS;
        self.agenda
            .connected(&verdicts, link.hello_sent_at, lease_span, hears_questions);
        // Whoever was told before: a drain is not undone by a new stream.
        if self.agenda.is_draining() {
            self.control.push_back(Control::Draining);
        }
        // The coordinator takes a worker as unreachable after two thirds of the lease, and so does
        // the worker the coordinator.
        let silence_max = lease_span * 2 / 3;
        self.connection = Connection::Up {
            link,
            heard_at: clock::now(),
            silence_max,
        };
        self.was_ever_up = true;
        for fence in self.attempts.keys().cloned().collect::<Vec<_>>() {
            self.has_something_to_say(&fence);
        }
    }

    fn not_connected(&mut self, error: DialError) -> Result<(), RunError> {
        let wait = self.backoff.step(chance());
        let coordinator = &self.config.coordinator;
        match error {
            DialError::Unauthenticated(cause) if !self.was_ever_up => {
                return Err(RunError::Unauthenticated(cause));
            }
            DialError::Refused(cause) if !self.was_ever_up => {
                return Err(RunError::Rejected(cause));
            }
            // It may have been up, before one of the two became another.
            DialError::Version(cause) => return Err(RunError::Version(cause)),
            DialError::NameTaken(_) => tracing::error!(
                coordinator, ?wait, error = %error,
                "give one of the two another name (--name), or wait until the other's lease is over"
            ),
            DialError::NameInTeam(_) => tracing::error!(
                coordinator, ?wait, error = %error,
                "give this worker another name (--name), or remove that member from the team"
            ),
            DialError::Unauthenticated(_) => tracing::error!(
                coordinator, ?wait, error = %error, "the token file must hold the coordinator's token (--token-file)"
            ),
            _ => tracing::warn!(coordinator, ?wait, error = %error, "not connected, trying again"),
        }
        self.connection = Connection::Waiting {
            until: clock::now() + wait,
        };
        Ok(())
    }

    /// Everything goes on; what is owed is said on the next stream.
    fn disconnected(&mut self, cause: &str, retry_after: Option<Duration>) {
        let spread = match &self.connection {
            Connection::Up { link, .. } => {
                let interval = link.welcome.heartbeat_interval.as_ref();
                session::spread(given_or(interval, HEARTBEAT_INTERVAL), chance())
            }
            _ => Duration::ZERO,
        };
        let wait = retry_after.unwrap_or_default() + self.backoff.step(chance()) + spread;
        tracing::warn!(
            cause,
            held = self.agenda.len(),
            ?wait,
            "disconnected, dialling again"
        );
        self.connection = Connection::Waiting {
            until: clock::now() + wait,
        };
        self.agenda.disconnected();
        self.control.clear();
        self.talkers.clear();
        for attempt in self.attempts.values_mut() {
            attempt.is_queued = false;
            attempt.last = None;
            attempt.doing.forget_sent();
        }
    }

    // What attempts say.

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Prepared(fence) => self.agenda.prepared(&fence),
            Notice::Began(fence) => self.agenda.began(&fence, clock::now()),
            Notice::Finishing(fence) => self.agenda.finishing(&fence),
            Notice::Asked(fence, question) => self.agenda.asked(&fence, question),
            Notice::Told(fence, number) => self.agenda.told(&fence, number),
            Notice::Doing(fence, doing) => {
                if let Some(attempt) = self.attempts.get_mut(&fence) {
                    attempt.doing.is_now(doing);
                }
                self.has_something_to_say(&fence);
            }
            Notice::Said(fence, piece) => self.transcribe(&fence, piece),
        }
    }

    fn transcribe(&mut self, fence: &Fence, piece: Piece) {
        if let Some(attempt) = self.attempts.get_mut(fence) {
            attempt.transcript.push(piece);
        }
        self.has_something_to_say(fence);
    }

    fn attempt_over(&mut self, over: Result<(Id, (Fence, Outcome)), JoinError>) {
        // All that it said before its end is in the queue by now, and comes first.
        while let Ok(notice) = self.notices.1.try_recv() {
            self.notice(notice);
        }
        let (id, outcome) = match over {
            Ok((id, (_, outcome))) => (id, outcome),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an attempt broke off"
                );
                (
                    error.id(),
                    Outcome::Unable("the worker failed: see its log".to_owned()),
                )
            }
        };
        let Some(fence) = self.running_ids.remove(&id) else {
            return;
        };
        if let Some(attempt) = self.attempts.get_mut(&fence) {
            attempt.transcript.close();
        }
        match &outcome {
            Outcome::Ended(ended) => {
                tracing::info!(attempt = %fence, ending = ended.ending().as_str_name(), "over");
            }
            Outcome::Unable(reason) => tracing::warn!(attempt = %fence, reason, "not done"),
        }
        self.agenda.over(&fence, outcome);
    }

    // What the agenda says.

    fn act(&mut self, action: Action) {
        match action {
            Action::Prepare(fence) => self.prepare(fence),
            Action::Begin(fence) => self.order(&fence, Order::Begin),
            Action::Stop(fence) => self.order(&fence, Order::Stop),
            Action::Kill(fence) => self.order(&fence, Order::Kill),
            Action::Report(fence, ReportKind::Started) => {
                self.control.push_back(Control::Started(fence))
            }
            Action::Report(fence, ReportKind::Asked) => {
                self.control.push_back(Control::Asked(fence))
            }
            Action::Heeded(fence) => self.control.push_back(Control::Heeded(fence)),
            Action::Tell(fence, word) => self.tell(&fence, word),
            Action::Note(fence, text) => {
                let (kind, at) = (TranscriptKind::Worker, clock::wall());
                self.transcribe(&fence, Piece { kind, text, at });
            }
            Action::Report(fence, kind) => {
                if let Some(attempt) = self.attempts.get_mut(&fence) {
                    attempt.last = Some(kind);
                }
                self.has_something_to_say(&fence);
            }
            Action::Forget(fence) => {
                self.attempts.remove(&fence);
                self.ground.secrets.forget(&fence);
                tracing::debug!(attempt = %fence, "settled");
            }
        }
    }

    fn prepare(&mut self, fence: Fence) {
        let job = self
            .jobs
            .remove(&fence)
            .expect("what the agenda took has its assignment kept");
        let (handle, ears) = attempt::ears();
        let run = attempt::run(self.ground.clone(), job, ears, self.notices.0.clone());
        self.running_ids
            .insert(self.running.spawn(run).id(), fence.clone());
        self.attempts.insert(fence, Attempt::new(handle));
    }

    fn order(&mut self, fence: &Fence, order: Order) {
        let reason = self.agenda.stop_reason(fence).unwrap_or_default();
        if let Some(attempt) = self.attempts.get(fence) {
            attempt.ear.orders.send_if_modified(|given| {
                let is_further = order > given.0;
                if is_further {
                    *given = (order, reason.into());
                }
                is_further
            });
        }
    }

    /// Hands a word to the attempt's own task, which always takes what comes: there is one of the
    /// coordinator's and one of the worker's on the way at the most.
    fn tell(&mut self, fence: &Fence, word: Word) {
        let sent = self
            .attempts
            .get(fence)
            .map(|attempt| attempt.ear.words.try_send(word));
        if let Some(Err(error)) = sent {
            // Its sub-agent is over.
            tracing::debug!(attempt = %fence, %error, "a word comes too late");
        }
    }
}

impl Connection {
    /// What comes of it; for ever nothing while it waits. Cancel safe.
    async fn next(&mut self, (has_control, has_progress): (bool, bool)) -> Event {
        match self {
            Self::Waiting { .. } => std::future::pending().await,
            Self::Dialing(dialing) => Event::Dialed(dialing.await),
            Self::Up { link, .. } => {
                let link = &mut **link;
                link.next_or_room(has_control, has_progress)
                    .await
                    .map_or(Event::Room, Event::Frames)
            }
        }
    }
}

/// A number by chance.
fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
