//! `ganger member add`.

use std::path::PathBuf;

use ganger_proto::v1;

use crate::{
    context::Context,
    failure::Failure,
    flags::{RequestId, text_or_file},
    member::identity,
    output::words,
};

/// A member to be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A member is an agent that calls the API itself, or with --type a hosted one, which runs as a
sub-agent on whatever worker fits. A name whose holder left may join again. Only the lead may add
others; anybody may add itself: ganger --member carol member add carol.

Examples:
  ganger member add carol --role reviewer
  ganger member add dave --plan-required
  ganger member add bob --type coder --model large --instructions 'Write Rust.'")]
pub struct Args {
    /// The name
    name: String,
    /// The agent type that runs its tasks, which makes it a hosted member
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: Option<String>,
    /// What it is for, in a few words
    #[arg(long, default_value = "", hide_default_value = true)]
    role: String,
    /// More about it
    #[arg(short, long, default_value = "", hide_default_value = true)]
    description: String,
    /// What is put before the prompt of each task that a hosted member runs
    #[arg(long, requires = "agent_type", conflicts_with = "instructions_file")]
    instructions: Option<String>,
    /// A file with these instructions; - for stdin
    #[arg(long, value_name = "FILE", requires = "agent_type")]
    instructions_file: Option<PathBuf>,
    /// The model that a hosted member wants
    #[arg(long, value_name = "MODEL", requires = "agent_type")]
    model: Option<String>,
    /// It may change nothing on the board until the lead approved its plan
    #[arg(long, conflicts_with = "agent_type")]
    plan_required: bool,
    #[command(flatten)]
    request_id: RequestId,
}

/// Adds it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let request = request(args)?;
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.teams().add_member(request).await
        })
        .await?;
    let member = answer.member.clone().unwrap_or_default();
    context.out.answer(&answer, || {
        format!(
            "{} joined as {}",
            identity(&member.name, member.incarnation),
            words::tail(member.kind().as_str_name(), "MEMBER_KIND_")
        )
    })?;
    Ok(())
}

fn request(args: Args) -> Result<v1::AddMemberRequest, Failure> {
    let kind = match args.agent_type {
        Some(_) => v1::MemberKind::Hosted,
        None => v1::MemberKind::Agent,
    };
    let instructions = text_or_file(args.instructions, args.instructions_file.as_deref())?;
    Ok(v1::AddMemberRequest {
        member: Some(v1::NewMember {
            name: args.name,
            kind: kind.into(),
            role: args.role,
            description: args.description,
            instructions: instructions.unwrap_or_default(),
            agent_type: args.agent_type.unwrap_or_default(),
            model: args.model.unwrap_or_default(),
            plan_required: args.plan_required,
        }),
        request_id: args.request_id.or_new(),
        ..v1::AddMemberRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn asked(line: &str) -> serde_json::Value {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        let request = request(line.args).unwrap();
        serde_json::to_value(request.member).unwrap()
    }

    #[test]
    fn agent_type_makes_a_hosted_member_with_model_and_instructions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("instructions");
        std::fs::write(&file, "Be brief.").unwrap();
        let line = format!(
            "add bob --type coder --role dev --model large --instructions-file {}",
            file.display()
        );

        assert_eq!(
            asked(&line),
            serde_json::json!({
                "name": "bob", "kind": "MEMBER_KIND_HOSTED", "role": "dev",
                "instructions": "Be brief.", "agentType": "coder", "model": "large",
            })
        );
    }

    #[test]
    fn agent_may_owe_a_plan_and_a_hosted_member_may_not() {
        assert_eq!(
            asked("add dave --plan-required"),
            serde_json::json!({
                "name": "dave", "kind": "MEMBER_KIND_AGENT", "planRequired": true
            })
        );
        for line in [
            "add dave --type coder --plan-required",
            "add dave --model large",
            "add dave --instructions x",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
