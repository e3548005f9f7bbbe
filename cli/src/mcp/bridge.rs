//! The way from the session to the coordinator's tools.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ganger_proto::v1;
use tokio::sync::OnceCell;
use tonic::Code;

use super::{
    json::{self, Object},
    session::Session,
};
use crate::{
    client::{Client, request_id},
    config::{Settings, address},
    context::wait_over,
    failure::{Exit, Failure},
};

/// How long a call that waits goes on trying to reach a coordinator that went away.
const PATIENCE: Duration = Duration::from_secs(60);
/// What takes longer than this waits; what fails sooner never got through.
const WAITS: Duration = Duration::from_secs(1);
/// What takes longer than this did get through again: two dials may take so long.
const THROUGH: Duration = Duration::from_secs(15);
/// How long the coordinator may take to tell its tools, or the roster: a client that starts the
/// server waits for these.
const LOOK_SPAN: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to the coordinator's tools. Dials when it is first used: a client may start before the
/// coordinator does.
#[derive(Debug)]
pub struct Bridge {
    settings: Settings,
    client: OnceCell<Client>,
    session: Mutex<Session>,
}

/// A call of a tool, as it goes out.
#[derive(Debug, Clone)]
pub struct Call {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: Object,
    /// What makes it the same call when it goes out again.
    pub request_id: String,
}

/// What a tool answered.
#[derive(Debug)]
pub struct Answer {
    /// As JSON.
    pub result: Object,
    /// In words.
    pub text: String,
    /// It is a no.
    pub is_error: bool,
}

impl Bridge {
    /// A bridge to the coordinator that the settings name.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            client: OnceCell::new(),
            session: Mutex::default(),
        }
    }

    /// Who the agent is, as far as it was said.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // Nothing is left half done under it.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator, spoken to in the team of the session.
    pub async fn client(&self) -> Result<Client, Failure> {
        let dial = || Client::connect(&self.settings);
        let client = self.client.get_or_try_init(dial).await?.clone();
        let team = self.session().team().map(ToOwned::to_owned);
        match team {
            Some(team) => client.in_team(&team),
            None => Ok(client),
        }
    }

    /// The tools as the coordinator tells them; none where there is no coordinator.
    ///
    /// # Errors
    /// What the coordinator refused.
    pub async fn tools(&self) -> Result<Option<Vec<v1::Tool>>, Failure> {
        let listed = within_look(async {
            let client = self.client().await?;
            client
                .ask(v1::ListToolsRequest {}, |client, request| async move {
                    client.tools().list_tools(request).await
                })
                .await
        });
        Ok(listed.await?.map(|listed| listed.tools))
    }

    /// Looks whether the configured member is on its team's roster. False where nobody knows, since
    /// there is no coordinator.
    ///
    /// # Errors
    /// That it isn't, and what the coordinator refused.
    pub async fn check_member(&self) -> Result<bool, Failure> {
        let Some(said) = &self.settings.member else {
            return Ok(true);
        };
        let team = self.settings.team.as_deref().unwrap_or("default");
        let said_as = address(said);
        if let Some(other) = said_as.team.filter(|other| *other != team) {
            return Err(Failure::Usage(format!(
                "{said} is a member of team {other}, and the session speaks in team {team}: say \
                 --team {other}, or a member of {team} with --member"
            )));
        }
        // Asked by nobody in particular: to a stranger the coordinator doesn't tell the roster.
        let asking = Settings {
            member: None,
            ..self.settings.clone()
        };
        let roster = within_look(async {
            let client = Client::connect(&asking).await?;
            crate::member::all(&client, "", false).await
        });
        let Some(roster) = roster.await? else {
            return Ok(false);
        };
        let is_there = roster.iter().any(|member| {
            let is_same = |pinned: &str| pinned.parse() == Ok(member.incarnation);
            member.name == said_as.name && said_as.incarnation.is_none_or(is_same)
        });
        if is_there {
            return Ok(true);
        }
        let names: Vec<&str> = roster.iter().map(|member| member.name.as_str()).collect();
        Err(Failure::Usage(format!(
            "team {team} has no member {said}: say another one with --member, or add it with \
             `ganger member add`; members are {}",
            names.join(", ")
        )))
    }

    /// Makes a call ready to go out.
    pub fn call(&self, tool: String, mut arguments: Object) -> Call {
        self.session().complete(&tool, &mut arguments);
        Call {
            tool,
            arguments,
            request_id: request_id(),
        }
    }

    /// The team that a call is about; none for the configured one.
    pub fn team_of(&self, call: &Call) -> Option<String> {
        self.session().team_of(&call.arguments)
    }

    /// Calls a tool. Dropping it before its end ends the wait, and not what it waits for.
    ///
    /// # Errors
    /// An unknown tool, a missing token, and a coordinator that can't answer.
    pub async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let sending = self.send_patiently(call);
        let answer = match self.settings.timeout {
            None => sending.await,
            Some(span) => tokio::time::timeout(span, sending)
                .await
                .unwrap_or_else(|_| Err(wait_over(span))),
        }?;
        Ok(Answer {
            result: json::of_struct(answer.result.unwrap_or_default()),
            text: answer.text,
            is_error: answer.is_error,
        })
    }

    /// Takes in what a call came to, that the client hears of.
    pub fn heard(&self, call: &Call, answer: &Answer) {
        if !answer.is_error {
            let mut session = self.session();
            session.heard(&call.tool, &call.arguments, &answer.result);
        }
    }

    /// The call is the same each time, so a task that it began is joined again. Only one that was
    /// waiting already has patience with a coordinator that went away: others are told at once.
    async fn send_patiently(&self, call: &Call) -> Result<v1::CallToolResponse, Failure> {
        let request = v1::CallToolRequest {
            name: call.tool.clone(),
            arguments: Some(json::to_struct(call.arguments.clone())),
            request_id: call.request_id.clone(),
        };
        let began = Instant::now();
        let mut patient_until = None;
        loop {
            let tried = Instant::now();
            let client = self.client().await?;
            let sent = client.ask(request.clone(), |client, request| async move {
                client.tools().call_tool(request).await
            });
            let failure = match sent.await {
                Err(failure) if failure.exit() == Exit::Unavailable => failure,
                answer => return answer,
            };
            let is_first = patient_until.is_none() && began.elapsed() > WAITS;
            if is_first || tried.elapsed() > THROUGH {
                patient_until = Some(Instant::now() + PATIENCE);
            }
            if patient_until.is_none_or(|until| Instant::now() >= until) {
                return Err(failure);
            }
            tracing::warn!(tool = call.tool, error = %failure, "the coordinator is away");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What the coordinator answers soon; none where it doesn't.
async fn within_look<T>(
    look: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    match tokio::time::timeout(LOOK_SPAN, look).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(failure)) if failure.exit() == Exit::Unavailable => Ok(None),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Whether the coordinator has no such tool.
pub fn is_unknown_tool(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(refused) => {
            refused.code == Code::NotFound && refused.reason.as_deref() == Some("TOOL_UNKNOWN")
        }
        _ => false,
    }
}
