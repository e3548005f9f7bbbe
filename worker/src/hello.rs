//! How a worker introduces itself.

use std::collections::HashMap;

use ganger_proto::v1::{self, Held, Hello, SandboxLevel};
use sha2::{Digest, Sha256};

use crate::{
    agenda::Agenda,
    config::{AgentType, Config},
    limits::{PROTOCOL, PROTOCOL_MIN},
    sandbox::{Assurance, Level},
};

/// What a worker says of itself for as long as its process lives.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    instance_id: String,
    controls: Vec<v1::SandboxControl>,
    ended_instances: Vec<String>,
    dials: u64,
}

impl Introduction {
    /// This instance, with what its sandbox was seen to hold, after others that are proven dead.
    pub(crate) fn new(
        instance_id: String,
        ended_instances: Vec<String>,
        assurance: &Assurance,
    ) -> Self {
        let controls = assurance.iter().map(|(control, level)| {
            let (level, reason) = match level {
                Level::Enforced => (SandboxLevel::Enforced, String::new()),
                Level::Degraded { reason } => (SandboxLevel::Degraded, reason.clone()),
                Level::Missing { reason, .. } => (SandboxLevel::Missing, reason.clone()),
            };
            v1::SandboxControl {
                name: control.as_str().to_owned(),
                level: level.into(),
                reason,
            }
        });
        Self {
            instance_id,
            ended_instances,
            controls: controls.collect(),
            dials: 0,
        }
    }

    /// The first word of the next stream.
    pub(crate) fn hello(&mut self, config: &Config, agenda: &Agenda) -> Hello {
        self.dials += 1;
        let agent_types = config
            .agent_types
            .iter()
            .map(|(name, agent_type)| v1::AgentType {
                interactive: agent_type.is_interactive(),
                hiring_depth: i32::try_from(agent_type.hiring_depth).unwrap_or(0),
                tasks_max: Some(i32::try_from(agent_type.tasks_max).unwrap_or(i32::MAX)),
                may_create_teams: agent_type.may_create_teams,
                prompt_is_script: Some(agent_type.prompt_is_script),
                stall_span: Some(agent_type.stall_span.into()),
                name: name.clone(),
                description: agent_type.description.clone(),
                runtime: "command".to_owned(),
                digest: digest(name, agent_type),
            });
        let held = agenda.presented().map(|(fence, started)| Held {
            fence: Some(fence.into()),
            started,
        });
        Hello {
            protocol: PROTOCOL,
            protocol_min: PROTOCOL_MIN,
            name: config.name.clone(),
            instance_id: self.instance_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: labels(config),
            slots: i32::try_from(config.slots).unwrap_or(i32::MAX),
            agent_types: agent_types.collect(),
            teams: config.teams.clone(),
            held: held.collect(),
            manual: false,
            sandbox: config.sandbox.to_string(),
            sandbox_controls: self.controls.clone(),
            ended_instances: self.ended_instances.clone(),
            dials: self.dials,
        }
    }
}

fn labels(config: &Config) -> HashMap<String, String> {
    let facts = [
        ("sandbox", config.sandbox.as_str()),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ];
    let facts = facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    facts.chain(config.labels.clone()).collect()
}

/// Tells two definitions of a type apart.
fn digest(name: &str, agent_type: &AgentType) -> String {
    let definition = agent_type.definition(name);
    Sha256::digest(definition.as_bytes())
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_the_definition_and_only_with_it() {
        let shell = AgentType::shell();
        let longer = AgentType {
            timeout: shell.timeout * 2,
            ..shell.clone()
        };

        assert_eq!(digest("shell", &shell), digest("shell", &shell.clone()));
        assert_ne!(digest("shell", &shell), digest("shell", &longer));
        assert_ne!(digest("shell", &shell), digest("other", &shell));
    }
}
