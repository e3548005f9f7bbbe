//! How a sub-agent is run: an agent type and an assignment become a sandbox and a command in it.

use std::path::Path;

use ganger_proto::v1::Assignment;

use crate::{
    clock,
    config::{AgentType, PROMPT_FILE},
    sandbox::{Command, DriverKind, Mount, SandboxId, SandboxSpec, Stdin, WORKSPACE},
};

pub(crate) mod output;
pub(crate) mod talk;

/// Where inputs lie in a sandbox.
pub(crate) const INPUTS: &str = "/inputs";
/// Where the worker's own files lie in a sandbox.
pub(crate) const OWN: &str = "/ganger";
/// What no mount of an agent type may take.
pub(crate) const OWN_TARGETS: [&str; 2] = [INPUTS, OWN];
/// The prompt's file name.
pub(crate) const PROMPT: &str = "prompt";
/// The file name of what a hosted member is always told. A file of its own, so that a script is
/// never preceded by English.
pub(crate) const INSTRUCTIONS: &str = "instructions";
/// The file name of the mail that a hosted member has not read: a JSON array of messages, oldest
/// first.
pub(crate) const MAIL: &str = "mail.json";

/// The host's side of an attempt.
pub(crate) struct Places<'a> {
    /// Becomes the workspace.
    pub(crate) workspace: &'a Path,
    /// Holds `inputs` and `ganger`.
    pub(crate) task: &'a Path,
}

/// The sandbox of an attempt.
pub(crate) fn sandbox_spec(
    id: SandboxId,
    places: &Places<'_>,
    agent_type: &AgentType,
    assignment: &Assignment,
) -> SandboxSpec {
    let own = OWN_TARGETS.map(|target| Mount {
        source: places.task.join(target.trim_start_matches('/')),
        target: target.into(),
    });
    SandboxSpec {
        read_only: own
            .into_iter()
            .chain(agent_type.mounts.iter().cloned())
            .collect(),
        env: agent_type
            .env
            .clone()
            .into_iter()
            .chain(facts(agent_type, assignment))
            .collect(),
        limits: agent_type.limits.clone(),
        ..SandboxSpec::new(id, places.workspace)
    }
}

/// The command of an attempt. Without a sandbox, files have their host's paths.
pub(crate) fn command(
    kind: DriverKind,
    places: &Places<'_>,
    agent_type: &AgentType,
    assignment: &Assignment,
) -> Command {
    let prompt_file = match kind {
        DriverKind::None => places.task.join(OWN.trim_start_matches('/')).join(PROMPT),
        DriverKind::Native => Path::new(OWN).join(PROMPT),
    };
    let prompt_file = prompt_file.to_string_lossy();
    let is_in_file = agent_type
        .command
        .iter()
        .any(|argument| argument.contains(PROMPT_FILE));
    let argv = agent_type
        .command
        .iter()
        .map(|argument| argument.replace(PROMPT_FILE, &prompt_file));
    Command {
        stdin: if agent_type.is_interactive() {
            Stdin::Open
        } else if is_in_file {
            Stdin::Null
        } else {
            Stdin::Bytes(assignment.prompt.clone().into_bytes())
        },
        ..Command::new(argv)
    }
}

impl AgentType {
    /// How deep others may be hired: what the assignment says, and no more than the type allows.
    pub(crate) fn depth_of_hiring(&self, assignment: &Assignment) -> i32 {
        let allowed = i32::try_from(self.hiring_depth).unwrap_or(0);
        assignment.hiring_depth.clamp(0, allowed)
    }
}

/// What a sub-agent is told about its task; never anything secret.
fn facts(agent_type: &AgentType, assignment: &Assignment) -> Vec<(String, String)> {
    let fence = assignment.fence.clone().unwrap_or_default();
    let deadline = assignment.deadline.as_ref().and_then(clock::system_time);
    let facts = [
        ("GANGER_TASK_ID", Some(fence.task_id.to_string())),
        ("GANGER_ATTEMPT", Some(fence.attempt.to_string())),
        ("GANGER_TEAM", Some(assignment.team.clone())),
        ("GANGER_SUBJECT", Some(assignment.subject.clone())),
        ("GANGER_MEMBER", Some(assignment.member.clone())),
        ("GANGER_AGENT_TYPE", Some(assignment.agent_type.clone())),
        (
            "GANGER_MODEL",
            Some(assignment.model.clone()).filter(|model| !model.is_empty()),
        ),
        (
            "GANGER_HIRING_DEPTH",
            Some(agent_type.depth_of_hiring(assignment).to_string()),
        ),
        ("GANGER_WORKSPACE", Some(WORKSPACE.to_owned())),
        ("GANGER_INPUTS", Some(INPUTS.to_owned())),
        (
            "GANGER_INSTRUCTIONS_FILE",
            Some(format!("{OWN}/{INSTRUCTIONS}")).filter(|_| !assignment.instructions.is_empty()),
        ),
        (
            "GANGER_MAIL_FILE",
            Some(format!("{OWN}/{MAIL}")).filter(|_| !assignment.mail.is_empty()),
        ),
        (
            "GANGER_DEADLINE",
            deadline.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
        ),
    ];
    // A NUL can't be passed to a program; whoever put it there loses no more than it.
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.replace('\0', "\u{fffd}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use ganger_proto::v1;

    use super::*;
    use crate::config::Protocol;

    fn assignment() -> Assignment {
        Assignment {
            fence: Some(v1::Fence {
                epoch: "e".into(),
                team_uid: 1,
                task_id: 7,
                attempt: 2,
            }),
            team: "red".into(),
            subject: "count\0lines".into(),
            prompt: "wc -l".into(),
            agent_type: "shell".into(),
            member: "task:7".into(),
            deadline: Some(pbjson_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
            ..Assignment::default()
        }
    }

    fn places() -> Places<'static> {
        Places {
            workspace: Path::new("/data/1"),
            task: Path::new("/data/1.task"),
        }
    }

    #[test]
    fn a_sub_agent_is_told_its_task_and_nothing_else() {
        let id = SandboxId::try_from("1".to_owned()).unwrap();

        let spec = sandbox_spec(id, &places(), &AgentType::shell(), &assignment());

        let env: Vec<_> = spec
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            env,
            [
                "GANGER_AGENT_TYPE=shell",
                "GANGER_ATTEMPT=2",
                "GANGER_DEADLINE=2023-11-14T22:13:20Z",
                "GANGER_HIRING_DEPTH=0",
                "GANGER_INPUTS=/inputs",
                "GANGER_MEMBER=task:7",
                "GANGER_SUBJECT=count\u{fffd}lines",
                "GANGER_TASK_ID=7",
                "GANGER_TEAM=red",
                "GANGER_WORKSPACE=/workspace",
                "HOME=/workspace",
                "LANG=C.UTF-8",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TMPDIR=/tmp",
            ]
        );
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn the_prompt_goes_into_a_file_or_to_standard_input() {
        let shell = command(
            DriverKind::Native,
            &places(),
            &AgentType::shell(),
            &assignment(),
        );
        assert_eq!(shell.argv, ["/bin/sh", "/ganger/prompt"]);
        assert!(matches!(shell.stdin, Stdin::Null));

        let bare = command(
            DriverKind::None,
            &places(),
            &AgentType::shell(),
            &assignment(),
        );
        assert_eq!(bare.argv, ["/bin/sh", "/data/1.task/ganger/prompt"]);

        let cat = command(
            DriverKind::Native,
            &places(),
            &AgentType::of_command(["cat"]),
            &assignment(),
        );
        assert_eq!(cat.argv, ["cat"]);
        assert!(matches!(cat.stdin, Stdin::Bytes(bytes) if bytes == b"wc -l"));

        let talker = AgentType {
            protocol: Protocol::Json,
            ..AgentType::shell()
        };
        let talker = command(DriverKind::Native, &places(), &talker, &assignment());
        assert_eq!(talker.argv, ["/bin/sh", "/ganger/prompt"]);
        assert!(matches!(talker.stdin, Stdin::Open));
    }

    #[test]
    fn hiring_is_as_deep_as_both_the_task_and_its_type_allow() {
        for (allowed, asked, depth) in [(0, 3, 0), (2, 1, 1), (2, 3, 2), (3, -1, 0)] {
            let agent_type = AgentType {
                hiring_depth: allowed,
                ..AgentType::shell()
            };
            let assignment = Assignment {
                hiring_depth: asked,
                ..assignment()
            };

            let told = facts(&agent_type, &assignment);

            let depth = ("GANGER_HIRING_DEPTH".to_owned(), depth.to_string());
            assert!(told.contains(&depth), "{told:?}");
        }
    }
}
