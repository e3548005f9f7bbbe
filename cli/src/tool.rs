//! `ganger tool`: the tools that lead agents know, under their known names.

use clap::Subcommand;
use ganger_proto::{json::to_line, v1};

use crate::{
    client::Client,
    context::Context,
    failure::{Exit, Failure},
    output::{Table, safe_block, safe_line, stdout_width},
};

mod call;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the tools
    #[command(visible_alias = "ls")]
    List,
    /// Show one tool: what it does, and the JSON schema of its arguments
    #[command(visible_alias = "get")]
    Show {
        /// Its name
        name: String,
    },
    /// Call a tool
    Call(call::Args),
}

/// Does it.
///
/// # Errors
/// What the coordinator refused.
pub async fn run(verb: Verb, context: &Context) -> Result<Exit, Failure> {
    match verb {
        Verb::List => list(context).await?,
        Verb::Show { name } => show(&name, context).await?,
        Verb::Call(args) => return call::run(args, context).await,
    }
    Ok(Exit::Done)
}

async fn tools(client: &Client) -> Result<v1::ListToolsResponse, Failure> {
    client
        .ask(v1::ListToolsRequest {}, |client, request| async move {
            client.tools().list_tools(request).await
        })
        .await
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = tools(&client).await?;
    context
        .out
        .answer(&answer, || tool_table(&answer.tools).text(stdout_width()))?;
    Ok(())
}

fn tool_table(tools: &[v1::Tool]) -> Table {
    let mut table = Table::new(&["TOOL", "DOES", "DESCRIPTION"]);
    for tool in tools {
        let first = tool.description.lines().next().unwrap_or_default();
        table.row(vec![
            safe_line(&tool.name),
            does(tool).into(),
            safe_line(first),
        ]);
    }
    table
}

fn does(tool: &v1::Tool) -> &'static str {
    match (tool.read_only, tool.long_running) {
        (true, false) => "reads",
        (true, true) => "reads, may wait",
        (false, false) => "changes",
        (false, true) => "changes, may wait",
    }
}

async fn show(name: &str, context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let answer = tools(&client).await?;
    let Some(tool) = answer.tools.iter().find(|tool| tool.name == name) else {
        return Err(Failure::Usage(format!(
            "there is no tool {name:?}; see `ganger tool list`"
        )));
    };
    context.out.answer(tool, || {
        // Read again, so that whole numbers are written as such.
        let schema = to_line(&tool.input_schema).and_then(|line| {
            let schema: serde_json::Value = serde_json::from_str(&line)?;
            serde_json::to_string_pretty(&schema)
        });
        let schema = schema.unwrap_or_default();
        format!(
            "{} ({})\n\n{}\n\n{}",
            safe_line(&tool.name),
            does(tool),
            safe_block(tool.description.trim_end()),
            safe_block(&schema)
        )
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_say_what_they_do_in_a_line() {
        let tool = |name: &str, read_only, long_running| v1::Tool {
            name: name.into(),
            description: "Lists the board.\nUse it often.".into(),
            read_only,
            long_running,
            ..v1::Tool::default()
        };

        let table = tool_table(&[tool("TaskList", true, false), tool("task", false, true)]);

        assert_eq!(
            console::strip_ansi_codes(&table.text(None)),
            "TOOL      DOES               DESCRIPTION\n\
             TaskList  reads              Lists the board.\n\
             task      changes, may wait  Lists the board.\n"
        );
    }
}
