//! `dlio-rs completions` and `dlio-rs man`: what a package installs beside the binary, made from the command line's own
//! definition.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::{Result, Stop, out};

const NAME: &str = "dlio-rs";

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut text);
    // clap_complete 4.6 writes bash's labels of a name with a hyphen in two ways, so that no option is ever found.
    let text = String::from_utf8_lossy(&text).replace("dlio__subcmd__rs", "dlio__rs");
    out(&text)
}

/// Writes `dlio-rs.1`, and `dlio-rs-VERB.1` for each verb.
pub(super) fn manual(args: &ManArgs) -> Result<()> {
    let failed = |operation: &str, path: &Path, error: &io::Error| {
        Stop::failed(format!(
            "{operation} {}: {}\n  remedy: choose a folder with space that you may write",
            path.display(),
            crate::storage::errno_words(error)
        ))
    };
    fs::create_dir_all(&args.folder).map_err(|e| failed("make folder", &args.folder, &e))?;
    // Pages of `help` would say what the others do.
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    for command in std::iter::once(&root).chain(root.get_subcommands()) {
        let man = Man::new(command.clone())
            .date(env!("DLIO_RS_DATE"))
            .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
            .manual("User commands");
        let file = args.folder.join(man.get_filename());
        let mut page = Vec::new();
        render(&man, command, &mut page)
            .and_then(|()| crate::storage::write_file(&file, &page))
            .map_err(|e| failed("write", &file, &e))?;
    }
    Ok(())
}

/// The sections of one page. The text after the options is shown as it is typed: clap_mangen would fill its lines.
fn render(man: &Man, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    // A list of possible values begins with breaks where the paragraph begins anyhow: mandoc(1) warns about each.
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    let options = String::from_utf8_lossy(&options).replace("\n.br\n\n.br\n", "\n.sp\n");
    page.extend(options.into_bytes());
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    if let Some(notes) = command.get_after_help() {
        let mut roff = Roff::new();
        roff.control("SH", ["NOTES"]).control("nf", []);
        for line in notes.to_string().lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
        page.extend(roff.render().into_bytes());
    }
    Ok(())
}
