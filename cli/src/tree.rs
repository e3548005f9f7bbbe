//! The whole command line, the daemons' own flags included: what completions and man pages are
//! made from.
//!
//! The tool reads its line without the daemons' flags, which are theirs alone; here they stand
//! where a person types them.

use clap::{Arg, Command};

use crate::daemon;

/// The whole command line, made of the tool's own. The global options stand at its root alone.
pub fn whole(tool: Command) -> Command {
    let mut tree = tool.mut_args(|arg| arg.global(false));
    for daemon in daemon::command_lines() {
        let name = daemon.get_name().to_owned();
        tree = tree.mut_subcommand(name, |_| daemon);
    }
    tree
}

/// The whole command line, with the global options wherever they may stand.
pub fn with_globals_everywhere(tool: Command) -> Command {
    let tree = whole(tool);
    let globals: Vec<Arg> = tree.get_arguments().cloned().collect();
    let daemons = daemon::command_lines();
    tree.mut_subcommands(|verb| {
        let is_daemon = daemons
            .iter()
            .any(|daemon| daemon.get_name() == verb.get_name());
        match is_daemon {
            // What is done with its board is the tool's own.
            true => verb.mut_subcommands(|verb| spread(verb, &globals)),
            false => spread(verb, &globals),
        }
    })
}

fn spread(verb: Command, globals: &[Arg]) -> Command {
    verb.args(globals)
        .mut_subcommands(|verb| spread(verb, globals))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn flags(tree: &Command, verbs: &[&str]) -> Vec<String> {
        let mut at = tree;
        for verb in verbs {
            at = at.find_subcommand(verb).unwrap();
        }
        let long = |arg: &Arg| arg.get_long().map(ToOwned::to_owned);
        at.get_arguments().filter_map(long).collect()
    }

    #[test]
    fn whole_command_line_is_sound() {
        whole(Cli::command()).debug_assert();
        with_globals_everywhere(Cli::command()).debug_assert();
    }

    #[test]
    fn daemons_show_their_own_flags_and_no_others() {
        for tree in [
            whole(Cli::command()),
            with_globals_everywhere(Cli::command()),
        ] {
            let coordinator = flags(&tree, &["coordinator"]);
            let worker = flags(&tree, &["worker"]);

            assert!(
                coordinator.contains(&"expect-type".into()),
                "{coordinator:?}"
            );
            assert!(worker.contains(&"slots".into()), "{worker:?}");
            assert!(!worker.contains(&"member".into()), "{worker:?}");
        }
        let backup = ["coordinator", "backup"];
        assert!(flags(&with_globals_everywhere(Cli::command()), &backup).contains(&"addr".into()));
    }

    #[test]
    fn global_options_stand_at_the_root_or_everywhere() {
        let member = "member".to_owned();

        assert!(flags(&whole(Cli::command()), &[]).contains(&member));
        assert!(!flags(&whole(Cli::command()), &["task", "create"]).contains(&member));
        assert!(
            flags(
                &with_globals_everywhere(Cli::command()),
                &["task", "create"]
            )
            .contains(&member)
        );
    }
}
