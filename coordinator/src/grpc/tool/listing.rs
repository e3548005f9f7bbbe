//! The tools that list what there is beside the board: list_agent_types, list_teams.

use std::fmt::Write as _;

use ganger_proto::v1::{
    self, delegation_service_server::DelegationService, team_service_server::TeamService,
};
use serde_json::{Value, json};

use super::{
    args::arguments,
    bound::{JSON_MAX, TEXT_MAX, brief, json_len, len},
    json::{self, Case},
    kinds::Count,
    refusal::No,
    registry::{Answer, Caller, Hints, Tool},
};

/// Characters of a description that a list tells.
const DESCRIPTION_MAX: usize = 500;

arguments! {
    /// list_agent_types.
    ListAgentTypes {
        /// The `next` of the last answer, to go on from there.
        after = "after": Option<String>,
    }
}

impl Tool for ListAgentTypes {
    const NAME: &'static str = "list_agent_types";
    const DESCRIPTION: &'static str = "\
Lists the agent types that workers offer, for `task`, TaskCreate and spawn_team: what each is \
good for, which workers offer it now, and how many slots are free.\n\
A type without workers is expected, or was offered before (last_seen): its tasks wait until a \
worker offers it. One that nobody has offered for 30 days is forgotten.";
    const HINTS: Hints = Hints::LOOKS;
    const NAMES_TEAM: bool = true;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        let request = caller.say(v1::ListAgentTypesRequest {});
        let listed = caller.services.list_agent_types(request).await?;
        let after = self.after.unwrap_or_default();
        let types = listed.into_inner().agent_types;
        let types = types
            .into_iter()
            .filter(|offered| name(offered) > after.as_str());
        Ok(listed_types(types))
    }
}

fn name(offered: &v1::OfferedAgentType) -> &str {
    offered
        .agent_type
        .as_ref()
        .map_or("", |agent_type| &agent_type.name)
}

fn listed_types(types: impl Iterator<Item = v1::OfferedAgentType>) -> Answer {
    const WORKERS_MAX: usize = 20;
    let mut text = String::new();
    let mut told = Vec::new();
    let mut len_told = 0;
    let mut next = None;
    for offered in types {
        let mut agent_type = offered.agent_type.clone().unwrap_or_default();
        agent_type.description = brief(&agent_type.description, DESCRIPTION_MAX).into_owned();
        let mut entry = json::told(&agent_type, Case::Snake);
        // How it is told apart from another worker's idea of it is nothing for a model.
        entry.remove("digest");
        let workers: Vec<&String> = offered.workers.iter().take(WORKERS_MAX).collect();
        entry.insert("offered_now".into(), (!workers.is_empty()).into());
        entry.insert("workers".into(), json!(workers));
        entry.insert("worker_count".into(), offered.workers.len().into());
        entry.insert("free_slots".into(), offered.free_slots.into());
        entry.insert("expected".into(), offered.expected.into());
        let seen = offered.last_seen.as_ref();
        let seen = seen.and_then(|seen| serde_json::to_value(seen).ok());
        if let Some(seen) = &seen {
            entry.insert("last_seen".into(), seen.clone());
        }
        let entry = Value::Object(entry);
        len_told += json_len(&entry) + 1;
        if len_told > JSON_MAX * 3 / 4 && !told.is_empty() {
            next = told.last().map(|last: &Value| last["name"].clone());
            break;
        }
        let now = match offered.workers.len() {
            0 => match (offered.expected, seen) {
                (true, _) => "not offered now, expected".to_owned(),
                (false, Some(seen)) => {
                    let seen = seen.as_str().unwrap_or_default();
                    format!("not offered now, last seen {seen}")
                }
                (false, None) => "not offered now".to_owned(),
            },
            count => format!("{count} workers, {} slots free", offered.free_slots),
        };
        let _ = writeln!(
            text,
            "{} ({now}): {}",
            agent_type.name, agent_type.description
        );
        told.push(entry);
    }
    if told.is_empty() {
        text.push_str("No worker offers an agent type. Start one with `ganger worker`.");
    }
    let mut result = json!({"agent_types": told});
    if let Some(next) = next {
        let _ = write!(text, "There are more: go on with after {next}.");
        result["next"] = next;
    }
    Answer::new(result, text.trim_end())
}

/// What the tool `task` says of the agent types that can be had now.
pub fn on_offer(types: &[v1::OfferedAgentType]) -> String {
    const TEXT_LEN_MAX: usize = 4 * 1024;
    const CHARS_MAX: usize = 120;
    let offered = types.iter().filter(|offered| !offered.workers.is_empty());
    let mut text = String::new();
    let mut more = 0;
    for offered in offered {
        let agent_type = offered.agent_type.clone().unwrap_or_default();
        let first = agent_type.description.lines().next().unwrap_or_default();
        let line = match first {
            "" => format!("\n- {}", agent_type.name),
            first => format!("\n- {}: {}", agent_type.name, brief(first, CHARS_MAX)),
        };
        match text.len() + line.len() <= TEXT_LEN_MAX {
            true => text.push_str(&line),
            false => more += 1,
        }
    }
    match (text.is_empty(), more) {
        (true, _) => "\nNo worker offers an agent type now; list_agent_types tells which were \
                      offered before."
            .to_owned(),
        (false, 0) => format!("\nOn offer now, as subagent_type:{text}"),
        (false, more) => {
            format!("\nOn offer now, as subagent_type:{text}\n- and {more} more: list_agent_types")
        }
    }
}

arguments! {
    /// list_teams.
    ListTeams {
        /// Those that were dissolved, too.
        include_dissolved = "include_dissolved": Option<bool>,
        /// How many at the most; 100 when left out, 1000 at the most.
        limit = "limit": Option<Count>,
        /// The next_page_token of the last answer, to go on from there.
        page_token = "page_token": Option<String>,
    }
}

impl Tool for ListTeams {
    const NAME: &'static str = "list_teams";
    const DESCRIPTION: &'static str = "\
Lists the teams of this coordinator: the lead, how many members, and how many tasks are pending, \
in progress and over.\n\
Use it to find a team to work in: other tools take its name as team_name.";
    const HINTS: Hints = Hints::LOOKS;
    const NAMES_TEAM: bool = true;

    async fn call(self, caller: &Caller) -> Result<Answer, No> {
        const LIMIT: i32 = 100;
        let mut page_size = self.limit.map_or(LIMIT, |limit| limit.0).max(1);
        loop {
            let request = caller.say(v1::ListTeamsRequest {
                page_size,
                page_token: self.page_token.clone().unwrap_or_default(),
                include_dissolved: self.include_dissolved.unwrap_or_default(),
            });
            let listed = caller.services.list_teams(request).await?.into_inner();
            let answer = listed_teams(&listed);
            if page_size == 1 || fits(&answer) {
                return Ok(answer);
            }
            page_size = (page_size / 2).max(1);
        }
    }
}

/// Whether there is room for an answer.
pub fn fits(answer: &Answer) -> bool {
    let fields = answer.result.iter();
    let json: usize = fields
        .map(|(key, value)| len(key) + 4 + json_len(value))
        .sum();
    json + 2 <= JSON_MAX && len(&answer.text) <= TEXT_MAX
}

fn listed_teams(listed: &v1::ListTeamsResponse) -> Answer {
    let mut text = String::new();
    let mut told = Vec::new();
    for team in &listed.teams {
        let counts = team.tasks.unwrap_or_default();
        let over = counts.completed + counts.failed + counts.cancelled;
        let _ = write!(
            text,
            "{} (lead {}): {} members; {} tasks pending, {} in progress, {over} over",
            team.name, team.lead, team.member_count, counts.pending, counts.in_progress
        );
        if team.dissolved_at.is_some() {
            text.push_str("; dissolved");
        }
        text.push('\n');
        let mut entry = json::told(team, Case::Snake);
        if let Some(description) = entry.get("description").and_then(Value::as_str) {
            let description = brief(description, DESCRIPTION_MAX).into_owned();
            entry.insert("description".into(), description.into());
        }
        told.push(Value::Object(entry));
    }
    let mut result = json!({"teams": told});
    let more = &listed.next_page_token;
    if !more.is_empty() {
        let _ = write!(text, "There are more: go on with page_token {more:?}.");
        result["next_page_token"] = more.as_str().into();
    }
    Answer::new(result, text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(name: &str, description: &str, workers: &[&str]) -> v1::OfferedAgentType {
        v1::OfferedAgentType {
            agent_type: Some(v1::AgentType {
                name: name.into(),
                description: description.into(),
                ..v1::AgentType::default()
            }),
            workers: workers.iter().map(ToString::to_string).collect(),
            free_slots: 2,
            ..v1::OfferedAgentType::default()
        }
    }

    #[test]
    fn only_what_is_offered_now_is_said_to_be_on_offer() {
        let types = [
            offered("coder", "writes code\nand more", &["w1"]),
            offered("gone", "was there", &[]),
            offered("plain", "", &["w1", "w2"]),
        ];

        assert_eq!(
            on_offer(&types),
            "\nOn offer now, as subagent_type:\n- coder: writes code\n- plain"
        );
        assert!(on_offer(&types[1..2]).contains("No worker offers an agent type now"));
        let many: Vec<_> = (0..1_000)
            .map(|n| offered(&format!("type-{n}"), &"x".repeat(4_000), &["w"]))
            .collect();
        let told = on_offer(&many);
        assert!(told.len() < 5 * 1024, "{}", told.len());
        assert!(told.ends_with(" more: list_agent_types"), "{told}");
    }

    #[test]
    fn types_that_have_no_room_are_told_by_the_next_answer() {
        let many: Vec<_> = (0..500)
            .map(|n| offered(&format!("type-{n:03}"), &"x".repeat(400), &["w"]))
            .collect();
        let (mut told, mut after) = (Vec::new(), String::new());
        loop {
            let rest = many.iter().filter(|offered| name(offered) > after.as_str());
            let answer = listed_types(rest.cloned());
            assert!(fits(&answer));
            let types = answer.result["agent_types"].as_array().unwrap();
            told.extend(types.iter().map(|entry| entry["name"].clone()));
            match answer.result.get("next") {
                Some(next) => after = next.as_str().unwrap().into(),
                None => break,
            }
        }
        let names = many.iter().map(|offered| Value::from(name(offered)));
        assert_eq!(told, names.collect::<Vec<_>>());
    }
}
