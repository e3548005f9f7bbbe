//! The engine on a store in memory, under a made-up clock, one group at a time.

mod asking;
mod expiry;
mod failures;
mod groups;
mod joins;
mod lending;
mod looks;
mod mail;
mod outlines;
mod placing;
mod replays;
mod roster;
mod scarcity;
mod types;
mod workers;

use board::{
    command::{Caller, NewTask, TasksKept, Update, Wish},
    id::{Epoch, Fence, Revision},
    listing::{self, At},
    record::Request,
    task::{EndedAttempt, Status},
};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::{
    fleet::{Assignment, Hello, HelloRefused, Leases, Offered, Order, Welcome},
    store::MemoryStore,
};

const TEAM: TeamUid = TeamUid(1);
const SHELL: &str = "shell";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(task: u64) -> TaskKey {
    (TEAM, TaskId(task))
}

fn team() -> TeamName {
    TeamName::parse(DEFAULT_TEAM).unwrap()
}

fn shell() -> AgentTypeName {
    AgentTypeName::parse(SHELL).unwrap()
}

/// A task for whoever takes it.
fn plain() -> NewTask {
    NewTask {
        subject: "think".into(),
        ..NewTask::default()
    }
}

/// A task for a worker.
fn delegated() -> NewTask {
    NewTask {
        subject: "work".into(),
        agent_type: Some(shell()),
        ..NewTask::default()
    }
}

fn create(tasks: impl Into<Vec<NewTask>>) -> Wish {
    Wish::CreateTasks(team(), tasks.into())
}

fn cancel(task: u64) -> Wish {
    Wish::CancelTask(team(), TaskId(task), "enough".into())
}

fn update(task: u64, update: Update) -> Wish {
    Wish::UpdateTask(team(), TaskId(task), Box::new(update))
}

fn request(key: u128, body: u128) -> Request {
    Request {
        key: RequestKey(key),
        body,
    }
}

/// An engine and what is around it.
struct World {
    engine: Engine,
    store: MemoryStore,
    hub: Hub,
    now: Time,
}

impl World {
    fn new() -> Self {
        Self::on(MemoryStore::default(), Time(1_000_000))
    }

    fn on(store: MemoryStore, now: Time) -> Self {
        Self::keeping(store, now, TasksKept::default())
    }

    fn keeping(store: MemoryStore, now: Time, tasks_kept: TasksKept) -> Self {
        let hub = Hub::default();
        let setup = Setup {
            limits: board::limits::RunningLimits::default(),
            store: Box::new(store.clone()),
            hub: hub.clone(),
            new_epoch: Epoch(7),
            leases: Leases::default(),
            expected_types: vec![shell()],
            tombstones_kept: Duration::from_secs(3_600),
            tasks_kept,
        };
        Self {
            engine: Engine::start(setup, |_| now).unwrap(),
            store,
            hub,
            now,
        }
    }

    /// Ends the process, and starts another one on the same store.
    fn restart(self) -> Self {
        Self::on(self.store, self.now)
    }

    fn take(&mut self, input: Input) {
        self.engine.take(input, self.now);
    }

    fn call(&mut self, wish: Wish, request: Option<Request>) -> oneshot::Receiver<CallReply> {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            caller: Caller::default(),
            request,
            wish,
        };
        self.take(Input::Call(Box::new(call), reply));
        answer
    }

    fn wait(&mut self, task: u64) -> oneshot::Receiver<Result<TaskView, Refusal>> {
        let (reply, answer) = oneshot::channel();
        self.take(Input::Wait(key(task), reply));
        answer
    }

    fn read<T: Send + 'static>(
        &mut self,
        look: impl for<'e> FnOnce(&mut Reader<'e>) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.take(Input::Read(Box::new(move |reader| {
            let seen = look(reader);
            Box::new(move || drop(reply.send(seen)))
        })));
        answer
    }

    /// What the driver does after the inputs of a group.
    fn flush(&mut self) {
        self.engine.elapse(self.now);
        while self.engine.place(self.now) {}
        self.engine.commit(self.now).unwrap();
    }

    /// A group of one call.
    fn called(&mut self, wish: Wish) -> CallReply {
        self.called_as(wish, None)
    }

    fn called_as(&mut self, wish: Wish, request: Option<Request>) -> CallReply {
        let mut answer = self.call(wish, request);
        self.flush();
        answer.try_recv().unwrap()
    }

    /// A group of one call, of whomever.
    fn called_with(&mut self, call: Call) -> CallReply {
        let mut answer = self.call_with(call);
        self.flush();
        answer.try_recv().unwrap()
    }

    fn call_with(&mut self, call: Call) -> oneshot::Receiver<CallReply> {
        let (reply, answer) = oneshot::channel();
        self.take(Input::Call(Box::new(call), reply));
        answer
    }

    /// Ten tasks after a place.
    fn list(&mut self, after: Option<At>) -> oneshot::Receiver<Result<TaskPage, Refusal>> {
        let wanted = Wanted {
            filter: ListFilter::default(),
            order: listing::Order::Id,
            after,
            size: 10,
        };
        self.read(move |reader| reader.tasks(&team(), &wanted, &Caller::default()))
    }

    /// A task as a reader sees it.
    fn task(&mut self, task: u64) -> TaskView {
        let mut answer =
            self.read(move |reader| reader.task(&team(), TaskId(task), &Caller::default()));
        self.flush();
        answer.try_recv().unwrap().unwrap()
    }

    fn status(&mut self, task: u64) -> Status {
        self.task(task).task.status()
    }

    fn last_attempt(&mut self, task: u64) -> EndedAttempt {
        self.task(task).task.attempts.last().unwrap().clone()
    }

    /// Lets time pass at once, without a group at its end.
    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    fn dial(&mut self, hello: Hello) -> Worker {
        self.try_dial(hello).unwrap()
    }

    fn try_dial(&mut self, hello: Hello) -> Result<Worker, HelloRefused> {
        let (outbox, orders) = mpsc::channel(16);
        let (reply, mut answer) = oneshot::channel();
        let (worker, instance) = (hello.name.clone(), hello.instance);
        self.take(Input::Fleet(FleetInput::Hello {
            hello: Box::new(hello),
            outbox,
            reply,
        }));
        self.flush();
        let welcome: Welcome = answer.try_recv().unwrap()?;
        let session = welcome.session;
        Ok(Worker {
            from: From {
                worker,
                instance,
                session,
            },
            welcome,
            orders,
        })
    }

    fn started(&mut self, worker: &Worker, fence: Fence) -> ReportReply {
        self.started_within(worker, fence, None)
    }

    /// Started, and may run for so long.
    fn started_for(&mut self, worker: &Worker, fence: Fence, limit: Duration) -> ReportReply {
        self.started_within(worker, fence, Some(limit))
    }

    fn started_within(
        &mut self,
        worker: &Worker,
        fence: Fence,
        run_limit: Option<Duration>,
    ) -> ReportReply {
        let (reply, mut answer) = oneshot::channel();
        self.take(Input::Fleet(FleetInput::Started {
            from: worker.from.clone(),
            fence,
            run_limit,
            reply,
        }));
        self.flush();
        answer.try_recv().unwrap()
    }

    fn completed(&mut self, worker: &Worker, fence: Fence, result: &str) -> ReportReply {
        let (reply, mut answer) = oneshot::channel();
        let report = board::command::EndReport {
            ending: board::task::AttemptEnding::Completed,
            result: result.into(),
            error: "".into(),
            stop_reason: None,
            outputs: Vec::new(),
            usage: board::task::Usage::default(),
        };
        self.take(Input::Fleet(FleetInput::Ended {
            from: worker.from.clone(),
            fence,
            report: Box::new(report),
            reply,
        }));
        self.flush();
        answer.try_recv().unwrap()
    }
}

fn hello(name: &str, instance: u128) -> Hello {
    Hello {
        protocol: crate::fleet::PROTOCOL,
        protocol_min: crate::fleet::PROTOCOL_MIN,
        name: board::id::WorkerName::parse(name).unwrap(),
        instance: InstanceId(instance),
        version: "1".into(),
        labels: BTreeMap::new(),
        slots: 2,
        types: vec![Offered {
            is_interactive: false,
            hiring_depth: 0,
            tasks_max: board::limits::ATTEMPT_TASKS,
            may_create_teams: false,
            prompt_is_script: false,
            stall_span: None,
            name: shell(),
            description: "".into(),
            runtime: "".into(),
            digest: "".into(),
        }],
        teams: None,
        held: Vec::new(),
        manual: false,
        sandbox: "".into(),
        sandbox_controls: Vec::new(),
        ended: Vec::new(),
        dials: 0,
    }
}

/// A worker that dialled in.
struct Worker {
    from: From,
    welcome: Welcome,
    orders: mpsc::Receiver<Order>,
}

impl Worker {
    /// The assignment that it was sent, and nothing else.
    fn assigned(&mut self) -> Assignment {
        match self.orders.try_recv() {
            Ok(Order::Assign(assignment)) => *assignment,
            other => panic!("no assignment: {other:?}"),
        }
    }

    /// The attempt that it was told to stop.
    fn stopped(&mut self) -> Fence {
        match self.orders.try_recv() {
            Ok(Order::Stop { fence, .. }) => fence,
            other => panic!("no stop: {other:?}"),
        }
    }

    fn is_left_alone(&mut self) -> bool {
        self.orders.is_empty()
    }
}
