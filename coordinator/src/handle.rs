//! The cheap, clonable front of the driver: it hides lanes and channels.

use std::{sync::Arc, time::Duration};

use board::{
    command::{Call, Wish},
    id::{TaskKey, TeamUid, WorkerName},
    refusal::Refusal,
    stuck::Stuck,
    view::TaskView,
};
use tokio::sync::oneshot;

use crate::{
    driver::{Lanes, NotTaken},
    engine::{
        CallReply, FleetInput, HelloReply, Input, MailReply, MailWanted, Reader, ReportReply,
        WorkerView,
    },
    fleet::{Hello, Outbox},
    store::BackupSink,
};

/// The front of the driver.
#[derive(Clone)]
pub struct Handle {
    lanes: Arc<Lanes>,
}

/// The driver can't be asked, or ended before it answered. For a change this means that its
/// outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Not asked.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// Asked, and not answered.
    #[error("the coordinator stopped before it answered")]
    Unanswered,
}

impl Handle {
    /// A front of the driver that drains these lanes.
    pub fn new(lanes: Arc<Lanes>) -> Self {
        Self { lanes }
    }

    /// Has a call decided. The answer comes when what it came to is durable. Dropping the future
    /// doesn't take the call back.
    pub async fn call(&self, call: Call) -> Result<CallReply, Unavailable> {
        let bytes = weight(&call);
        let (reply, answer) = oneshot::channel();
        self.lanes
            .push_client(Input::Call(Box::new(call), reply), bytes)?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Has a call decided, and doesn't wait for what it comes to.
    pub fn call_unheard(&self, call: Call) -> Result<(), Unavailable> {
        let bytes = weight(&call);
        let (reply, _) = oneshot::channel();
        Ok(self
            .lanes
            .push_client(Input::Call(Box::new(call), reply), bytes)?)
    }

    /// Looks, in the line of inputs: what is answered is durable.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl for<'e> FnOnce(&mut Reader<'e>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let read = Input::Read(Box::new(move |reader| {
            let seen = look(reader);
            // Who asked may be gone by then, and then nobody is told.
            Box::new(move || drop(reply.send(seen)))
        }));
        self.lanes.push_client(read, 0)?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Reads a mailbox: what is answered is durable, and acknowledged where that is wanted.
    pub async fn mail(&self, wanted: MailWanted) -> Result<MailReply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.lanes
            .push_client(Input::Mail(Box::new(wanted), reply), 0)?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Waits until a task is over.
    pub async fn wait(&self, task: TaskKey) -> Result<Result<TaskView, Refusal>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.lanes.push_client(Input::Wait(task, reply), 0)?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Has a team's lead told that somebody waits in vain, and doesn't wait for it.
    pub fn note_stuck(&self, team: TeamUid, stuck: Vec<Stuck>) -> Result<(), Unavailable> {
        Ok(self.lanes.push_client(Input::NoteStuck(team, stuck), 0)?)
    }

    /// Has a backup made, and doesn't wait for it.
    pub fn back_up(&self, sink: Box<dyn BackupSink>) -> Result<(), Unavailable> {
        Ok(self.lanes.push_client(Input::BackUp(sink), 0)?)
    }

    /// Brings a worker's Hello.
    pub async fn hello(&self, hello: Hello, outbox: Outbox) -> Result<HelloReply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let hello = Box::new(hello);
        self.tell_fleet(FleetInput::Hello {
            hello,
            outbox,
            reply,
        })?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Brings a worker's report, made with where its answer goes.
    pub async fn report(
        &self,
        report: impl FnOnce(oneshot::Sender<ReportReply>) -> FleetInput,
    ) -> Result<ReportReply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.tell_fleet(report(reply))?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Has a worker take no new work and leave. Answers it, if there is one of that name.
    pub async fn drain_worker(
        &self,
        worker: WorkerName,
        reason: Arc<str>,
        timeout: Option<Duration>,
    ) -> Result<Option<WorkerView>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.tell_fleet(FleetInput::Drain {
            worker,
            reason,
            timeout,
            reply,
        })?;
        answer.await.map_err(|_| Unavailable::Unanswered)
    }

    /// Brings something from a worker's stream that is not answered.
    pub fn tell_fleet(&self, input: FleetInput) -> Result<(), Unavailable> {
        Ok(self.lanes.push_fleet(Input::Fleet(input))?)
    }
}

/// About how many bytes a call brings.
fn weight(call: &Call) -> usize {
    let texts = match &call.wish {
        Wish::CreateTasks(_, tasks) => tasks
            .iter()
            .map(|task| task.subject.len() + task.description.len() + task.prompt.len())
            .sum(),
        Wish::UpdateTask(_, _, update) => {
            let texts = [&update.description, &update.result];
            texts.into_iter().flatten().map(|text| text.len()).sum()
        }
        Wish::UpdateTasks(_, updates) => {
            let texts = updates.iter();
            let texts = texts.flat_map(|(_, update)| [&update.description, &update.result]);
            texts.flatten().map(|text| text.len()).sum()
        }
        Wish::AnswerQuestion(_, _, _, text) | Wish::SteerTask(_, _, text) => text.len(),
        Wish::SendMessage(_, letter) => letter.text.len() + letter.payload.len(),
        _ => 0,
    };
    256 + texts
}
