//! What can be asked of the tool.

use clap::{Parser, Subcommand};

use crate::{
    artifact, completions, daemon, demo, doctor, failure::EXIT_CODES, fleet, globals::Globals,
    healthcheck, logs, mail, man, mcp, member, run, task, team, tool, up, watch,
};

/// A durable team board for AI agents, and the fleet that works it off.
#[derive(Debug, Parser)]
#[command(name = "ganger", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What goes for every verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a coordinator and a worker on this machine
    Up(up::Args),
    /// Show the main job: a board over a code base, done by sub-agents in sandboxes
    Demo(demo::Args),
    /// Find out what this machine can hold, and what is wrong
    Doctor(doctor::Args),
    /// Teams, from their making to their end
    #[command(subcommand)]
    Team(team::Verb),
    /// Who is on a team's roster
    #[command(subcommand)]
    Member(member::Verb),
    /// The task board
    #[command(subcommand)]
    Task(task::Verb),
    /// Messages between the members of a team
    #[command(subcommand)]
    Mail(mail::Verb),
    /// The tools that lead agents know, under their known names
    #[command(subcommand)]
    Tool(tool::Verb),
    /// Have a sub-agent do something, and wait for it
    Run(Box<run::Args>),
    /// The transcript of a task, as it grows
    Logs(logs::Args),
    /// Files of tasks
    #[command(subcommand)]
    Artifact(artifact::Verb),
    /// What happens to a team, as it happens
    Watch(watch::Args),
    /// Workers, what they offer, and the coordinator's state
    #[command(subcommand)]
    Fleet(fleet::Verb),
    /// Serve the tools of lead agents to an MCP client, over stdin and stdout
    Mcp(mcp::Args),
    /// The coordinator daemon, and its board: see `ganger coordinator --help`
    Coordinator(daemon::OrUpkeep),
    /// The worker daemon, and how others are told to leave: see `ganger worker --help`
    Worker(daemon::OrWorker),
    /// Ask a daemon whether it serves: exit 0, or 2 unreachable, 3 no answer, 4 not serving
    Healthcheck(healthcheck::Args),
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// The manual pages, one for each verb
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::output::Format;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_before_and_after_the_verb() {
        for line in [
            "ganger --team red -o json task list",
            "ganger task list --team red -o json",
            "ganger task --team red list --output json",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();

            assert_eq!(cli.globals.team.as_deref(), Some("red"), "{line}");
            assert_eq!(cli.globals.output, Some(Format::Json), "{line}");
        }
    }

    #[test]
    fn a_sweep_means_one_task_or_a_filter_and_not_both_nor_neither() {
        for line in [
            "ganger task cancel",
            "ganger task cancel 3 --parent 1",
            "ganger task pause --reason why",
            "ganger task resume 3 --label a",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn every_line_of_the_help_parses() {
        for line in [
            "ganger team create red --lead ann --hosted bob=shell --with carol",
            "ganger team get red",
            "ganger team list --all",
            "ganger team dissolve red --force --reason why",
            "ganger team hand-over carol",
            "ganger team update red --weight 3 --max-running 20 --idle-notices false",
            "ganger task create Fix --worker-label gpu=yes --worker-label zone=a --window 5",
            "ganger run --type shell true --worker-label gpu=yes --window 5",
            "ganger task update 3 --window 0",
            "ganger member list --all",
            "ganger member add bob --type shell --role dev",
            "ganger member remove bob --force",
            "ganger task create Fix --blocked-by 1,2 --type shell --prompt true --output-glob out/**",
            "ganger task create Fix --time-limit 5m --priority high --label a --label b --metadata {}",
            "ganger task list --status in-progress --ready --limit 3",
            "ganger task update 3 --status completed --result done --expected-revision 7",
            "ganger task create Fix --share-todos --max-attempts 3 --on-failure pause",
            "ganger task batch create plan.json",
            "ganger task batch update - --request-id 018f",
            "ganger task list --text migration --order tree --ready=false",
            "ganger task get 3",
            "ganger task explain 3 --limit 5",
            "ganger task history 3",
            "ganger task claim 3 --lease 2h",
            "ganger task claim-next --label a --priority-min high --no-lease",
            "ganger task next",
            "ganger task renew 3 --attempt 2",
            "ganger task release 3 --reason why",
            "ganger task reopen 3 --reason why",
            "ganger task delete 3",
            "ganger task pause 3 --reason why",
            "ganger task resume 3",
            "ganger task wait 3 4 5 --timeout 5m",
            "ganger task wait --any 3,4",
            "ganger mail send --to alice,bob hello",
            "ganger mail send --broadcast -",
            "ganger mail read --wait 5m --type question --ack",
            "ganger mail ack --up-to 7",
            "ganger mail ack 3 5,6",
            "ganger mail watch --ack --from bob",
            "ganger mail ask bob what --wait 5m",
            "ganger mail answer 12 that",
            "ganger mail shutdown alice bob --answer-within 30s",
            "ganger mail plan - --wait 1h",
            "ganger mail approve 12",
            "ganger mail reject 12 why",
            "ganger tool list",
            "ganger tool show TaskCreate",
            "ganger tool call TaskUpdate taskId=3 status=completed",
            "ganger task cancel 3 --reason why",
            "ganger task cancel --parent 1 --label a --type shell --owner bob --reason why",
            "ganger task pause --label nightly --reason why",
            "ganger task resume --parent 1",
            "ganger task create Sum --joins 1 --outlive-parent",
            "ganger run --type shell true --joins 1 --outlive-parent",
            "ganger task watch --until-done",
            "ganger run --type shell true",
            "ganger run --type shell --file script.sh --input a.txt=in/a.txt --detach",
            "ganger logs 3 --attempt 1 --no-follow",
            "ganger artifact get 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
            "ganger artifact put report.md",
            "ganger watch --after 0",
            "ganger fleet workers",
            "ganger fleet status --timeout 3s",
            "ganger fleet types",
            "ganger coordinator backup --to board.backup --addr 127.0.0.1:1",
            "ganger coordinator restore board.backup --data-dir data",
            "ganger coordinator compact --data-dir data",
            "ganger healthcheck --service readiness --addr 127.0.0.1:1",
            "ganger completions bash",
            "ganger man",
            "ganger man share/man/man1",
            "ganger task list --because-of 12 --on-behalf-of carol",
            "ganger mcp --team red --member ann",
            "ganger up --data-dir data --sandbox none --slots 3",
            "ganger demo --repo . --keep --sandbox none --out report",
            "ganger doctor --data-dir data",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_is_done_with_a_board_has_help_of_its_own() {
        for verb in ["backup", "restore", "compact"] {
            let line = ["ganger", "coordinator", verb, "--help"];

            let help = Cli::try_parse_from(line).unwrap_err();

            assert_eq!(help.exit_code(), 0, "{help}");
            assert!(help.to_string().contains("Example"), "{help}");
        }
    }

    /// The words of a shell's line up to what isn't the tool's: a pipe, a file, a comment.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut quoted, mut begun) = (vec![String::new()], false, false);
        for c in line.chars() {
            match c {
                '\'' => {
                    quoted = !quoted;
                    begun = true;
                }
                '|' | '<' | '>' | '#' if !quoted => break,
                ' ' if !quoted => {
                    if begun {
                        words.push(String::new());
                    }
                    begun = false;
                }
                c => {
                    words.last_mut().unwrap().push(c);
                    begun = true;
                }
            }
        }
        if !begun {
            words.pop();
        }
        words
    }

    fn examples(verb: &clap::Command) -> Vec<String> {
        let help = verb.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let lines = help.lines().filter_map(|line| {
            let at = line.find("ganger ")?;
            let lead = line[..at].trim();
            // A line of its own, one after a heading, or one that a pipe feeds.
            (lead.is_empty() || lead == "Example:" || lead.ends_with('|'))
                .then(|| line[at..].to_owned())
        });
        let below = verb.get_subcommands().flat_map(examples);
        lines.chain(below).collect()
    }

    #[test]
    fn every_example_of_the_help_parses() {
        let examples = examples(&Cli::command());
        assert!(examples.len() > 40, "{examples:?}");
        for example in examples {
            if let Err(error) = Cli::try_parse_from(shell_words(&example)) {
                panic!("{example}: {error}");
            }
        }
    }

    #[test]
    fn senseless_lines_are_wrong_usage() {
        for line in [
            "ganger",
            "ganger task show three",
            "ganger task list --ready --blocked",
            "ganger task update 3 --owner a --no-owner",
            "ganger run true",
            "ganger run --type shell",
            "ganger run --type shell --file a true",
            "ganger task list --timeout soon",
            "ganger artifact get abc",
            "ganger task create x --metadata [1]",
            "ganger team dissolve",
            "ganger task reopen 3",
            "ganger task wait",
            "ganger mail ack",
            "ganger mail reject 12",
            "ganger task list --because-of yesterday",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();

            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
