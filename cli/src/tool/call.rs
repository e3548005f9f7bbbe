//! `ganger tool call`.

use std::path::Path;

use ganger_proto::v1;
use serde_json::{Map, Value};

use crate::{
    client::request_id,
    context::Context,
    failure::{Exit, Failure},
    input,
    output::safe_block,
    values,
};

/// What is called, with what.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The arguments are a JSON object, - for one on stdin, or KEY=TEXT and KEY:=JSON. What the board
refuses is an answer too: it is printed, and the exit code is 1.

Examples:
  ganger tool call TaskList
  ganger tool call TaskCreate '{\"subject\": \"Write the migration\", \"description\": \"In SQL\"}'
  ganger tool call TaskUpdate taskId=3 status=completed
  ganger tool call TaskUpdate taskId=3 'addBlockedBy:=[\"2\"]'")]
pub struct Args {
    /// The tool
    name: String,
    /// A JSON object, - for stdin, or KEY=TEXT and KEY:=JSON
    #[arg(value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Calls it.
///
/// # Errors
/// Where the arguments make no sense, or there is no such tool.
pub async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let request = v1::CallToolRequest {
        name: args.name,
        arguments: Some(arguments(&args.arguments)?),
        request_id: request_id(),
    };
    let client = context.connect().await?;
    let answer = client
        .ask(request, |client, request| async move {
            client.tools().call_tool(request).await
        })
        .await?;
    if answer.is_error && !context.out.is_json() {
        anstream::eprintln!("{}", safe_block(answer.text.trim_end()));
    } else {
        context
            .out
            .answer(&answer, || safe_block(answer.text.trim_end()))?;
    }
    Ok(match answer.is_error {
        true => Exit::Failed,
        false => Exit::Done,
    })
}

fn arguments(words: &[String]) -> Result<pbjson_types::Struct, Failure> {
    let object = |text: &str| {
        values::object(text).map_err(|error| Failure::Usage(format!("the arguments: {error}")))
    };
    match words {
        [only] if only == "-" => object(&input::read_text(Path::new("-"))?),
        [only] if only.trim_start().starts_with('{') => object(only),
        pairs => {
            let pairs: Map<String, Value> = pairs
                .iter()
                .map(|word| pair(word))
                .collect::<Result<_, _>>()?;
            object(&Value::from(pairs).to_string())
        }
    }
}

/// `KEY=TEXT` is text whatever it looks like, `KEY:=JSON` what it says.
fn pair(word: &str) -> Result<(String, Value), Failure> {
    let wrong = |why: &str| Failure::Usage(format!("{word:?}: {why}"));
    let (key, value) = word
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| wrong("give a JSON object, or KEY=TEXT and KEY:=JSON"))?;
    match key.strip_suffix(':') {
        Some(key) => match serde_json::from_str(value) {
            Ok(value) => Ok((key.to_owned(), value)),
            Err(error) => Err(wrong(&error.to_string())),
        },
        None => Ok((key.to_owned(), value.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Value, Failure> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        arguments(&words).map(|read| serde_json::to_value(read).unwrap())
    }

    #[test]
    fn arguments_are_an_object_or_pairs_of_text_and_json() {
        assert_eq!(read(&[]).unwrap(), serde_json::json!({}));
        assert_eq!(
            read(&[r#" {"taskId": "3", "n": null}"#]).unwrap(),
            serde_json::json!({"taskId": "3", "n": null})
        );
        assert_eq!(
            read(&["taskId=3", "text=a=b", "addBlocks:=[\"4\"]", "wait:=true"]).unwrap(),
            serde_json::json!({
                "taskId": "3", "text": "a=b", "addBlocks": ["4"], "wait": true
            })
        );
    }

    #[test]
    fn senseless_arguments_are_wrong_usage() {
        for words in [&["{"][..], &["three"], &["=x"], &["n:=[1"], &["[1]"]] {
            let failure = read(words).unwrap_err();

            assert!(matches!(failure, Failure::Usage(_)), "{words:?}");
        }
    }
}
