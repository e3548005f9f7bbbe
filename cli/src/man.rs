//! `ganger man`: the manual pages, one for each verb.
//!
//! They are made from the same command line that is read, so that they can't lag behind it.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use crate::{context::Context, failure::Failure, tree};

/// Where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ganger man | man -l -
  ganger man /usr/local/share/man/man1")]
pub struct Args {
    /// The directory to put the pages into: ganger.1, ganger-task.1, ganger-task-create.1, ...
    /// [default: print ganger.1]
    dir: Option<PathBuf>,
}

/// One page.
#[derive(Debug)]
struct Page {
    /// Such as `ganger-task-create.1`.
    file: String,
    roff: Vec<u8>,
}

/// Prints the first page of the tool's command line, or writes them all.
///
/// # Errors
/// Where the directory or stdout can't be written to.
pub fn run(args: &Args, tool: Command, context: &Context) -> Result<(), Failure> {
    let pages = pages(tool)?;
    let Some(dir) = &args.dir else {
        if let Some(first) = pages.first() {
            io::stdout().write_all(&first.roff)?;
        }
        return Ok(());
    };
    fs::create_dir_all(dir)
        .and_then(|()| {
            let mut pages = pages.iter();
            pages.try_for_each(|page| fs::write(dir.join(&page.file), &page.roff))
        })
        .map_err(|error| Failure::local(format!("can't write to {}: {error}", dir.display())))?;
    let files: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
    context.out.answer(&files, || {
        format!("wrote {} pages to {}", files.len(), dir.display())
    })?;
    Ok(())
}

/// All pages, the tool's own first.
fn pages(tool: Command) -> io::Result<Vec<Page>> {
    let mut tree = tree::whole(tool).disable_help_subcommand(true);
    tree.build();
    let mut pages = Vec::new();
    add_pages(&tree, None, &mut pages)?;
    Ok(pages)
}

fn add_pages(verb: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = display_name(verb);
    pages.push(Page {
        file: format!("{name}.1"),
        roff: page(verb, above)?,
    });
    verb.get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .try_for_each(|verb| add_pages(verb, Some(&name), pages))
}

fn display_name(verb: &Command) -> String {
    let name = verb.get_display_name().unwrap_or(verb.get_name());
    name.to_owned()
}

fn page(verb: &Command, above: Option<&str>) -> io::Result<Vec<u8>> {
    let man = Man::new(verb.clone())
        .source(concat!("ganger ", env!("CARGO_PKG_VERSION")))
        .manual("Ganger");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if verb.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if verb.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    page.extend(last_sections(verb, above));
    Ok(page)
}

/// What a page ends with: the closing words of the help, line by line, and where to read on.
fn last_sections(verb: &Command, above: Option<&str>) -> Vec<u8> {
    let mut roff = Roff::new();
    if let Some(text) = verb.get_after_help() {
        roff.control("SH", ["NOTES"]);
        // Examples and tables of codes are what their lines make them.
        roff.control("nf", []);
        for line in text.to_string().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    if let Some(above) = above {
        roff.control("SH", ["SEE ALSO"]);
        let mut pages = format!("{above}(1)");
        if above != "ganger" {
            pages.push_str(", ganger(1)");
        }
        roff.text([roman(format!(
            "{pages}, which tells the global options and the exit codes."
        ))]);
    }
    roff.render().into_bytes()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn text(pages: &[Page], file: &str) -> String {
        let page = pages.iter().find(|page| page.file == file);
        let page = page.unwrap_or_else(|| panic!("no {file}"));
        String::from_utf8(page.roff.clone()).unwrap()
    }

    fn verbs(verb: &Command) -> usize {
        1 + verb.get_subcommands().map(verbs).sum::<usize>()
    }

    #[test]
    fn every_verb_has_a_page_and_the_tool_comes_first() {
        let pages = pages(Cli::command()).unwrap();

        assert_eq!(pages.len(), verbs(&tree::whole(Cli::command())));
        assert_eq!(pages[0].file, "ganger.1");
        let create = text(&pages, "ganger-task-create.1");
        assert!(create.contains("ganger task create"), "{create}");
        assert!(create.contains("blocked\\-by"), "{create}");
        assert!(create.contains("ganger\\-task(1)"), "{create}");
    }

    #[test]
    fn global_options_and_exit_codes_are_told_once() {
        let pages = pages(Cli::command()).unwrap();

        let root = text(&pages, "ganger.1");
        assert!(root.contains("GLOBAL OPTIONS"), "{root}");
        assert!(root.contains("GANGER_ADDR"), "{root}");
        assert!(root.contains("\n  124  timed out\n"), "{root}");
        let create = text(&pages, "ganger-task-create.1");
        assert!(!create.contains("GANGER_ADDR"), "{create}");
    }

    #[test]
    fn pages_are_readable_in_every_locale() {
        for page in pages(Cli::command()).unwrap() {
            assert!(page.roff.is_ascii(), "{}", page.file);
        }
    }

    #[test]
    fn daemons_have_pages_with_their_own_flags() {
        let pages = pages(Cli::command()).unwrap();

        let coordinator = text(&pages, "ganger-coordinator.1");
        assert!(coordinator.contains("expect\\-type"), "{coordinator}");
        assert!(coordinator.contains("GANGER_DATA_DIR"), "{coordinator}");
        let worker = text(&pages, "ganger-worker.1");
        assert!(worker.contains("GANGER_WORKER_SLOTS"), "{worker}");
    }
}
