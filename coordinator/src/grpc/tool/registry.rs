//! What a tool is, and which there are.

use std::pin::Pin;

use ganger_proto::v1::{self, team_service_server::TeamService};
use serde_json::Value;
use tonic::{Request, metadata::MetadataMap};

use super::{
    args::{Argument, Arguments, Given, Object, Property, schema},
    board, control, delegation, json, listing, mail, reading,
    refusal::{No, Refusal},
    team, teammates, update,
};
use crate::grpc::Services;

/// The tools, in the order in which a model should read them.
pub const TOOLS: &[Entry] = &[
    Entry::of::<team::TeamCreate>(),
    Entry::of::<team::SpawnTeam>(),
    Entry::of::<board::TaskCreate>(),
    Entry::of::<board::TaskList>(),
    Entry::of::<board::TaskGet>(),
    Entry::of::<update::TaskUpdate>(),
    Entry::of::<board::ClaimTask>(),
    Entry::of::<team::AssignTask>(),
    Entry::of::<delegation::Task>(),
    Entry::of::<delegation::CheckTask>(),
    Entry::of::<delegation::WaitTasks>(),
    Entry::of::<delegation::SteerTask>(),
    Entry::of::<delegation::CancelTask>(),
    Entry::of::<control::PauseTask>(),
    Entry::of::<control::ResumeTask>(),
    Entry::of::<control::ReleaseTask>(),
    Entry::of::<control::ReopenTask>(),
    Entry::of::<listing::ListAgentTypes>(),
    Entry::of::<reading::ReadTranscript>(),
    Entry::of::<reading::ReadArtifact>(),
    Entry::of::<teammates::CheckTeammates>(),
    Entry::of::<mail::MessageTeammate>(),
    Entry::of::<mail::Broadcast>(),
    Entry::of::<mail::ReadMessages>(),
    Entry::of::<mail::AnswerQuestion>(),
    Entry::of::<mail::SendMessage>(),
    Entry::of::<listing::ListTeams>(),
    Entry::of::<team::DissolveTeam>(),
    Entry::of::<team::TeamDelete>(),
];

/// A tool. The type itself is what it is called with.
pub trait Tool: Arguments + Send {
    /// Its name.
    const NAME: &'static str;
    /// What it does, when to use it, and what it answers.
    const DESCRIPTION: &'static str;
    /// What a call may mean.
    const HINTS: Hints = Hints::CHANGES;
    /// Whether it says itself which team it is about, rather than by the common `team_name`.
    const NAMES_TEAM: bool = false;

    /// Does it.
    fn call(self, caller: &Caller) -> impl Future<Output = Result<Answer, No>> + Send;
}

/// What a call may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may wait for long.
    pub long_running: bool,
    /// It may end, stop or delete something.
    pub destructive: bool,
}

impl Hints {
    /// It adds to the board, at once.
    pub const CHANGES: Self = Self {
        read_only: false,
        long_running: false,
        destructive: false,
    };
    /// It looks.
    pub const LOOKS: Self = Self {
        read_only: true,
        ..Self::CHANGES
    };
    /// It may end, stop or delete something.
    pub const ENDS: Self = Self {
        destructive: true,
        ..Self::CHANGES
    };

    /// The same, and it may take long.
    pub const fn long(self) -> Self {
        Self {
            long_running: true,
            ..self
        }
    }
}

/// What came out.
#[derive(Debug)]
pub struct Answer {
    /// As JSON.
    pub result: Object,
    /// In words.
    pub text: String,
}

impl Answer {
    /// An answer.
    pub fn new(result: Value, text: impl Into<String>) -> Self {
        let result = match result {
            Value::Object(object) => object,
            _ => Object::new(),
        };
        Self {
            result,
            text: text.into(),
        }
    }
}

/// Who calls a tool.
pub struct Caller {
    /// What there is to call.
    pub services: Services,
    /// The team that the call names; empty for the metadata's.
    pub team: String,
    /// How to know the call again.
    pub request_id: String,
    metadata: MetadataMap,
}

impl Caller {
    /// Who called with this metadata.
    pub fn new(services: Services, metadata: MetadataMap, request_id: String) -> Self {
        Self {
            services,
            team: String::new(),
            request_id,
            metadata,
        }
    }

    /// A request in the caller's own name.
    pub fn say<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().clone_from(&self.metadata);
        request
    }

    /// The name that the caller goes by, where the metadata says one: without the team and the
    /// incarnation that it may say, too.
    pub fn name(&self) -> Option<&str> {
        let member = self.metadata.get(ganger_proto::MEMBER_KEY)?.to_str().ok()?;
        let name = member.split(['@', '/']).next().unwrap_or_default().trim();
        (!name.is_empty()).then_some(name)
    }

    /// A page of the team's members.
    pub async fn members(
        &self,
        page_size: i32,
        page_token: &str,
    ) -> Result<v1::ListMembersResponse, No> {
        let request = self.say(v1::ListMembersRequest {
            team: self.team.clone(),
            page_size,
            page_token: page_token.to_owned(),
            ..v1::ListMembersRequest::default()
        });
        Ok(self.services.list_members(request).await?.into_inner())
    }
}

type Calling = Pin<Box<dyn Future<Output = Result<Answer, No>> + Send>>;

/// A tool as the registry has it.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// What a call may mean.
    pub hints: Hints,
    own: &'static [Property],
    common: &'static [Property],
    run: fn(Caller, Object) -> Calling,
    #[cfg(test)]
    pub reads: fn(Object) -> Result<(), Refusal>,
}

/// What every tool takes that doesn't name its team otherwise.
const COMMON: &[Property] = &[Property {
    name: "team_name",
    text: "The team, where it isn't the one that you speak in.",
    schema: <String as Argument>::schema,
    is_required: false,
}];

impl Entry {
    const fn of<T: Tool + 'static>() -> Self {
        Self {
            name: T::NAME,
            description: T::DESCRIPTION,
            hints: T::HINTS,
            own: T::ALL,
            common: common::<T>(),
            run: |caller, given| Box::pin(run::<T>(caller, given)),
            #[cfg(test)]
            reads: |given| read::<T>(given).map(|_| ()),
        }
    }

    /// What it takes.
    pub fn properties(&self) -> impl Iterator<Item = &'static Property> + Clone {
        self.own.iter().chain(self.common)
    }

    /// The JSON schema of what it takes.
    pub fn schema(&self) -> Object {
        match schema(self.properties()) {
            Value::Object(schema) => schema,
            _ => Object::new(),
        }
    }

    /// Calls it with what came.
    pub async fn call(
        &self,
        caller: Caller,
        given: Option<pbjson_types::Struct>,
    ) -> Result<Answer, No> {
        match json::of_struct(given.unwrap_or_default()) {
            Some(given) => (self.run)(caller, given).await,
            None => Err(Refusal::no_json(self.name).into()),
        }
    }

    /// What is told of it.
    pub fn told(&self) -> v1::Tool {
        v1::Tool {
            name: self.name.to_owned(),
            description: self.description.to_owned(),
            input_schema: Some(json::to_struct(self.schema())),
            read_only: self.hints.read_only,
            long_running: self.hints.long_running,
            destructive: self.hints.destructive,
        }
    }
}

const fn common<T: Tool>() -> &'static [Property] {
    if T::NAMES_TEAM { &[] } else { COMMON }
}

/// What a call gives: the team that it names, and the tool's own arguments.
fn read<T: Tool>(given: Object) -> Result<(Option<String>, T), Refusal> {
    let takes = T::ALL.iter().chain(common::<T>());
    let mut given = Given::new(T::NAME, given, takes)?;
    let wrong = |wrong| Refusal::wrong_argument(T::NAME, &wrong);
    let team = match T::NAMES_TEAM {
        true => None,
        false => given.take("team_name").map_err(wrong)?,
    };
    Ok((team, T::take(&mut given).map_err(wrong)?))
}

async fn run<T: Tool>(mut caller: Caller, given: Object) -> Result<Answer, No> {
    let (team, tool) = read::<T>(given)?;
    caller.team = team.unwrap_or_default();
    match tool.call(&caller).await {
        Err(No::Refused(refusal)) => Err(with_members(&caller, *refusal).await.into()),
        answered => answered,
    }
}

/// Who isn't there is told with those who are, so that the next call can be right.
async fn with_members(caller: &Caller, mut refusal: Refusal) -> Refusal {
    const NAMED_MAX: i32 = 200;
    if refusal.reason == "MEMBER_NOT_FOUND"
        && let Ok(there) = caller.members(NAMED_MAX, "").await
    {
        let names: Vec<String> = there
            .members
            .into_iter()
            .map(|member| member.name)
            .collect();
        refusal
            .facts
            .insert("members".to_owned(), names.join(", ").into());
    }
    refusal
}
