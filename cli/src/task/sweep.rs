//! Cancelling, holding and resuming all that a filter finds, call by call.

use std::future::Future;

use ganger_proto::v1;

use crate::{
    client::{Client, request_id},
    context::Context,
    failure::Failure,
    flags::RequestId,
};

/// One task, or all that a filter finds; filters add up.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// The task
    #[arg(conflicts_with_all = ["parent", "label", "agent_type", "owner"])]
    id: Option<u64>,
    /// All tasks below this one, at any depth
    #[arg(long, value_name = "TASK")]
    parent: Option<u64>,
    /// All tasks with this label
    #[arg(long)]
    label: Option<String>,
    /// All tasks of this agent type
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: Option<String>,
    /// All tasks of this owner
    #[arg(long, value_name = "MEMBER")]
    owner: Option<String>,
}

/// What is meant.
pub enum Meant {
    /// This task.
    One(u64),
    /// What this finds.
    All(v1::TaskFilter),
}

impl Which {
    /// What is meant.
    pub fn meant(self) -> Meant {
        match self.id {
            Some(id) => Meant::One(id),
            None => Meant::All(v1::TaskFilter {
                parent_task_id: self.parent.unwrap_or_default(),
                label: self.label.unwrap_or_default(),
                agent_type: self.agent_type.unwrap_or_default(),
                owner: self.owner.unwrap_or_default(),
                ..v1::TaskFilter::default()
            }),
        }
    }
}

/// What one call came to. The three calls answer the same.
pub struct Swept {
    /// How many it changed.
    pub changed: i32,
    /// There may be more.
    pub more: bool,
    /// Where to go on.
    pub last: u64,
}

/// Sweeps until there is no more, and says meanwhile how far it is. `done` is the word for what is
/// done.
///
/// # Errors
/// What the coordinator refused; what earlier calls changed stays so.
pub async fn all<Called>(
    mut filter: v1::TaskFilter,
    first: RequestId,
    done: &str,
    context: &Context,
    call: impl Fn(Client, v1::TaskFilter, String) -> Called,
) -> Result<(), Failure>
where
    Called: Future<Output = Result<Swept, Failure>>,
{
    let client = context.connect().await?;
    let mut total = v1::CancelTasksResponse::default();
    let mut id = first.or_new();
    loop {
        let swept = call(client.clone(), filter.clone(), id).await?;
        total.changed = total.changed.saturating_add(swept.changed);
        total.last_task_id = swept.last;
        if !swept.more {
            break;
        }
        context
            .out
            .note(&format!("{} tasks {done} …", total.changed));
        filter.after_task_id = swept.last;
        id = request_id();
    }
    context.out.answer(&total, || match total.changed {
        1 => format!("1 task {done}"),
        changed => format!("{changed} tasks {done}"),
    })?;
    Ok(())
}
