//! The tools of teams: TeamCreate, TeamDelete, spawn_team, assign_task, dissolve_team.

use std::{collections::BTreeSet, fmt::Write as _};

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, task_service_server::TaskService,
    team_service_server::TeamService,
};
use serde_json::{Value, json};

use super::{
    args::{Object, arguments},
    board::hashes,
    json::{self, Case, ids},
    kinds::{Id, Word, Words, number, numbers},
    refusal::{No, Refusal},
    registry::{Answer, Caller, Hints, Tool},
};

arguments! {
    /// TeamCreate.
    TeamCreate {
        /// Its name: 1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or a digit.
        team_name = "team_name": String,
        /// What the team is for.
        description = "description": Option<String>,
        /// Your role in it, as a label: "tech-lead".
        agent_type = "agent_type": Option<String>,
        /// The lead's name; yours, or "team-lead", when left out.
        lead = "lead": Option<String>,
    }
}

impl Tool for TeamCreate {
    const NAME: &'static str = "TeamCreate";
    const DESCRIPTION: &'static str = "\
Makes a team with a task board of its own, and you as its lead.\n\
Use it before you plan work that several agents share; for members that come with the team, use \
spawn_team. Answers team_name and lead_agent_id.";
    const NAMES_TEAM: bool = true;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = v1::CreateTeamRequest {
            team_name: self.team_name,
            description: self.description.unwrap_or_default(),
            agent_type: self.agent_type.unwrap_or_default(),
            lead: lead(self.lead, caller),
            request_id: caller.request_id.clone(),
            ..v1::CreateTeamRequest::default()
        };
        let answer = caller.services.create_team(caller.say(request)).await?;
        let made = answer.into_inner();
        let text = format!(
            "Team {} made; its lead is {}.",
            made.team_name, made.lead_agent_id
        );
        let result = json!({
            "team_name": made.team_name,
            "lead_agent_id": made.lead_agent_id,
        });
        Ok(Answer::new(result, text))
    }
}

/// Who makes a team by a tool leads it, under the name that the caller goes by.
fn lead(said: Option<String>, caller: &Caller) -> String {
    let own = || caller.name().map(ToOwned::to_owned);
    said.or_else(own).unwrap_or_default()
}

/// What a member of spawn_team may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hosted,
    Agent,
}

impl Words for Kind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("hosted", Self::Hosted), ("agent", Self::Agent)];
}

arguments! {
    /// A member of spawn_team.
    NewMember {
        /// The member's name, by which it is assigned tasks and gets mail.
        name = "name": String,
        /// What it is for, in a few words.
        role = "role": Option<String>,
        /// More about it, for the others.
        description = "description": Option<String>,
        /// What it is told before each of its tasks.
        instructions = "instructions": Option<String>,
        /// The model that it wants.
        model = "model": Option<String>,
        /// The agent type that runs its tasks on a worker; the coordinator's default when left out.
        agent_type = "agent_type": Option<String>,
        /// The same as agent_type.
        subagent_type = "subagent_type": Option<String>,
        /// `agent` for an agent or person that calls by itself, rather than being run by a worker.
        kind = "kind": Option<Word<Kind>>,
        /// It may change nothing before you have approved its plan.
        plan_required = "plan_required": Option<bool>,
    }
}

arguments! {
    /// spawn_team.
    SpawnTeam {
        /// Its name: 1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or a digit.
        team_name = "team_name": String,
        /// The members that come with it.
        members = "members": Vec<NewMember>,
        /// What the team is for.
        description = "description": Option<String>,
        /// The lead's name; yours, or "team-lead", when left out.
        lead = "lead": Option<String>,
    }
}

impl Tool for SpawnTeam {
    const NAME: &'static str = "spawn_team";
    const DESCRIPTION: &'static str = "\
Makes a team with its members at once, for work that specialists do side by side.\n\
Members run on workers, each as its agent_type says, and begin as soon as they are assigned a \
task; those of kind agent are agents or people that call by themselves. Next: assign_task for \
each member, then wait_tasks or check_teammates. Answers the team and its members, and which \
agent types nobody offers now.";
    const NAMES_TEAM: bool = true;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let offered = caller.say(v1::ListAgentTypesRequest {});
        let offered = caller.services.list_agent_types(offered).await?;
        let offered = offered.into_inner().agent_types;
        let lead = lead(self.lead, caller);
        let default_type = &caller.services.about.default_agent_type;
        let members = self.members.into_iter();
        let members = members.map(|member| member.into_wire(default_type.as_str(), &offered));
        let members = members.collect::<Result<Vec<_>, Refusal>>()?;
        let told: Vec<Value> = members.iter().map(to_be).collect();
        let names: Vec<String> = members.iter().map(line_to_be).collect();
        let missing = NotOffered::of(&members, &offered);
        let request = v1::CreateTeamRequest {
            team_name: self.team_name,
            description: self.description.unwrap_or_default(),
            lead,
            members,
            request_id: caller.request_id.clone(),
            ..v1::CreateTeamRequest::default()
        };
        let answer = caller.services.create_team(caller.say(request)).await?;
        let made = answer.into_inner();
        let mut text = format!(
            "Team '{}' created with {} members:\n{}",
            made.team_name,
            names.len(),
            names.join("\n")
        );
        let mut result = json!({
            "team_name": made.team_name,
            "lead_agent_id": made.lead_agent_id,
            "members": told,
        });
        match missing {
            Some(missing) => missing.tell(&mut text, &mut result),
            None => text.push_str("\nUse assign_task to have them begin."),
        }
        Ok(Answer::new(result, text))
    }
}

impl NewMember {
    /// The member as it is made: who doesn't call by itself has an agent type, the default one where
    /// none is said.
    fn into_wire(
        self,
        default_type: &str,
        offered: &[v1::OfferedAgentType],
    ) -> Result<v1::NewMember, Refusal> {
        let said = self.agent_type.or(self.subagent_type).unwrap_or_default();
        let kind = self.kind.map(|word| word.0);
        let agent_type = match (kind, said.is_empty()) {
            (Some(Kind::Agent), _) | (_, false) => said,
            _ if is_script(default_type, offered) => return Err(default_is_script(default_type)),
            _ => default_type.to_owned(),
        };
        let kind = match kind {
            Some(Kind::Agent) => v1::MemberKind::Agent,
            Some(Kind::Hosted) | None => v1::MemberKind::Hosted,
        };
        Ok(v1::NewMember {
            name: self.name,
            kind: kind.into(),
            role: self.role.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            instructions: self.instructions.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            agent_type,
            plan_required: self.plan_required.unwrap_or_default(),
        })
    }
}

/// Whether a known type runs its prompt as a script.
fn is_script(name: &str, offered: &[v1::OfferedAgentType]) -> bool {
    let mut types = offered
        .iter()
        .filter_map(|offered| offered.agent_type.as_ref());
    types.any(|known| known.name == name && known.prompt_is_script())
}

/// What people say of a task must never be run, so such a type is no member's unless it is said.
fn default_is_script(name: &str) -> Refusal {
    Refusal {
        error: format!(
            "{name}, the agent type of members without one, runs its prompt as a script"
        ),
        reason: "DEFAULT_TYPE_IS_SCRIPT".to_owned(),
        next: "give each member an agent_type (list_agent_types tells them), or have the \
               coordinator's default_agent_type set to one that takes words"
            .to_owned(),
        facts: match json!({"agent_type": name}) {
            Value::Object(facts) => facts,
            _ => Object::new(),
        },
    }
}

/// Agent types of members that no worker offers now, and what there is.
struct NotOffered {
    types: Vec<String>,
    known: Vec<String>,
    on_offer: Vec<String>,
}

impl NotOffered {
    /// Those of these members, if any.
    fn of(members: &[v1::NewMember], offered: &[v1::OfferedAgentType]) -> Option<Self> {
        let named = |is_it: fn(&v1::OfferedAgentType) -> bool| -> Vec<String> {
            let those = offered.iter().filter(|offered| is_it(offered));
            let types = those.filter_map(|offered| offered.agent_type.as_ref());
            types.map(|known| known.name.clone()).collect()
        };
        let on_offer = named(|offered| !offered.workers.is_empty());
        let hosted = members.iter().map(|member| &member.agent_type);
        let wanted: BTreeSet<&String> = hosted.filter(|name| !name.is_empty()).collect();
        let missing = wanted.into_iter().filter(|name| !on_offer.contains(*name));
        let types: Vec<String> = missing.cloned().collect();
        (!types.is_empty()).then(|| Self {
            known: named(|_| true),
            on_offer,
            types,
        })
    }

    fn tell(self, text: &mut String, result: &mut Value) {
        let on_offer = match self.on_offer.is_empty() {
            true => "none".to_owned(),
            false => self.on_offer.join(", "),
        };
        for name in &self.types {
            let then = match self.known.contains(name) {
                true => "their tasks wait for a worker that does",
                false => "assign_task is refused for them until a worker does",
            };
            let _ = write!(
                text,
                "\nNo worker offers {name} now, the agent type of some members: {then}."
            );
        }
        let _ = write!(text, "\nOn offer now: {on_offer}.");
        result["not_offered"] = json!(self.types);
        result["on_offer"] = json!(self.on_offer);
    }
}

fn to_be(member: &v1::NewMember) -> Value {
    json!({
        "name": bare(member),
        "kind": match member.kind() {
            v1::MemberKind::Agent => "agent",
            _ => "hosted",
        },
        "agent_type": member.agent_type,
    })
}

fn line_to_be(member: &v1::NewMember) -> String {
    match member.agent_type.as_str() {
        "" => format!("- {}", bare(member)),
        agent_type => format!("- {} ({agent_type})", bare(member)),
    }
}

/// The member's name, be it that its address was given.
fn bare(member: &v1::NewMember) -> &str {
    let name = member.name.split('@').next();
    name.unwrap_or_default()
}

arguments! {
    /// assign_task.
    AssignTask {
        /// The member who is to do it.
        member_name = "member_name": String,
        /// What is to be done: a new task. Say all that the member must know.
        task_description = "task_description": Option<String>,
        /// The id of a task that is on the board already, instead of task_description.
        task_id = "task_id": Option<Id>,
        /// A new task in a line; the first line of task_description when left out.
        subject = "subject": Option<String>,
        /// What a hosted member's sub-agent is told, where that isn't the description: for a
        /// command type such as `shell`, the command.
        prompt = "prompt": Option<String>,
        /// Ids of tasks that must be completed before it can begin.
        blocked_by = "blocked_by": Option<Vec<Id>>,
        /// How soon it should run, compared with others.
        priority = "priority": Option<Word<v1::TaskPriority>>,
    }
}

impl Tool for AssignTask {
    const NAME: &'static str = "assign_task";
    const DESCRIPTION: &'static str = "\
Gives a task to a member: a new one (task_description), or one of the board (task_id).\n\
A hosted member runs it on a worker as soon as nothing blocks it; any other member is told by \
mail, and claims it. Doesn't wait: use wait_tasks or check_teammates. Answers the task's id.";

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let task = match (self.task_id, self.task_description.is_some()) {
            (Some(id), false) => self.hand_over(id, caller).await?,
            (None, true) => self.make(caller).await?,
            _ => return Err(either("assign_task", "task_description", "task_id").into()),
        };
        let mut text = format!(
            "Task #{} assigned to '{}'.\n{}",
            task.id, task.owner, task.line
        );
        if !task.phase_reason.is_empty() {
            let _ = write!(text, "\n{}", task.phase_reason);
        }
        let told = json::told(&task, Case::Snake);
        let keys = [
            "owner",
            "status",
            "phase",
            "phase_reason",
            "open_blockers",
            "line",
        ];
        let mut result = json::some(told, &keys);
        result.insert("task_id".into(), task.id.to_string().into());
        Ok(Answer::new(result.into(), text))
    }
}

impl AssignTask {
    async fn make(self, caller: &Caller) -> Result<v1::Task, No> {
        let description = self.task_description.unwrap_or_default();
        let request = caller.say(v1::CreateTaskRequest {
            team: caller.team.clone(),
            subject: self.subject.unwrap_or_else(|| first_line(&description)),
            description,
            owner: self.member_name,
            prompt: self.prompt.unwrap_or_default(),
            blocked_by: numbers(self.blocked_by),
            priority: number(self.priority),
            request_id: caller.request_id.clone(),
            ..v1::CreateTaskRequest::default()
        });
        let answer = caller.services.create_task(request).await?;
        Ok(answer.into_inner().task.unwrap_or_default())
    }

    async fn hand_over(self, id: Id, caller: &Caller) -> Result<v1::Task, No> {
        let request = caller.say(v1::UpdateTaskRequest {
            team: caller.team.clone(),
            task_id: id.0,
            owner: Some(self.member_name),
            subject: self.subject,
            prompt: self.prompt,
            add_blocked_by: numbers(self.blocked_by),
            priority: number(self.priority),
            request_id: caller.request_id.clone(),
            ..v1::UpdateTaskRequest::default()
        });
        let answer = caller.services.update_task(request).await?;
        Ok(answer.into_inner().task.unwrap_or_default())
    }
}

/// One of two arguments is wanted, and not both.
pub fn either(tool: &str, one: &str, other: &str) -> Refusal {
    Refusal {
        error: format!("{tool} takes one of {one} and {other}"),
        reason: "ARGUMENT_INVALID".to_owned(),
        next: format!("call {tool} again with {one}, or with {other}"),
        facts: Object::new(),
    }
}

/// The first line of a text, as a subject.
fn first_line(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let line = text.trim().lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

arguments! {
    /// dissolve_team.
    DissolveTeam {
        /// Stop what is still running, rather than be refused because of it.
        force = "force": Option<bool>,
        /// Why, for the history.
        reason = "reason": Option<String>,
    }
}

impl Tool for DissolveTeam {
    const NAME: &'static str = "dissolve_team";
    const DESCRIPTION: &'static str = "\
Ends the team when its work is done: what is open is cancelled, its mail is closed, its name is \
free.\n\
Refused with the list of running tasks unless force is true: then they are stopped first. Doing \
it twice is safe.";
    const HINTS: Hints = Hints::ENDS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let force = self.force.unwrap_or_default();
        let (name, gone) = dissolve(caller, force, self.reason).await?;
        let mut text = if gone.already_dissolved {
            format!("Team '{name}' had been dissolved before.")
        } else {
            format!("Team '{name}' dissolved.")
        };
        if !gone.stopping.is_empty() {
            let _ = write!(text, " Being stopped: {}.", hashes(&gone.stopping));
        }
        let result = json!({
            "success": true,
            "team_name": name,
            "already_dissolved": gone.already_dissolved,
            "stopping": ids(&gone.stopping),
        });
        Ok(Answer::new(result, text))
    }
}

async fn dissolve(
    caller: &Caller,
    force: bool,
    reason: Option<String>,
) -> Result<(String, v1::DissolveTeamResponse), No> {
    let request = caller.say(v1::DissolveTeamRequest {
        team: caller.team.clone(),
        force,
        reason: reason.unwrap_or_default(),
        request_id: caller.request_id.clone(),
    });
    let gone = caller.services.dissolve_team(request).await?.into_inner();
    let name = gone.team.as_ref().map(|team| team.name.clone());
    Ok((name.unwrap_or_default(), gone))
}

arguments! {
    /// TeamDelete.
    TeamDelete {
        /// Stop what is still running, rather than be refused because of it.
        force = "force": Option<bool>,
    }
}

impl Tool for TeamDelete {
    const NAME: &'static str = "TeamDelete";
    const DESCRIPTION: &'static str = "\
Ends the team when its work is done.\n\
Refused while members are still at work: wait for them, shut them down, or say force, which stops \
them first.";
    const HINTS: Hints = Hints::ENDS;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let (name, gone) = dissolve(caller, self.force.unwrap_or_default(), None).await?;
        let mut message = format!("Team \"{name}\" is deleted.");
        if !gone.stopping.is_empty() {
            let _ = write!(message, " Being stopped: {}.", hashes(&gone.stopping));
        }
        let result = json!({"success": true, "message": message, "team_name": name});
        Ok(Answer::new(result, message))
    }
}
