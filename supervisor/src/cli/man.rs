//! The manual page, made of what `--help` says: every command in one page, as a person looks for it.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

const FILES: &[(&str, &str)] = &[
    (
        "./cluster.toml",
        "read by `up` if it is there and --config names no other; every key is explained in the shipped one",
    ),
    ("$RUNTIME_DIRECTORY/control.sock", "the control socket under systemd"),
    (
        "$XDG_RUNTIME_DIR/roomd.sock",
        "the control socket else; without that variable roomd-UID/control.sock below the temporary directory",
    ),
];

/// The page in roff.
///
/// # Errors
/// None in practice: it is written into memory.
pub(super) fn man_page(command: Command) -> io::Result<Vec<u8>> {
    // Arguments that all have, and what stands in for another's name, are known only then.
    let mut command = command.disable_help_flag(true);
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    Roff::new().control("SH", ["COMMANDS"]).to_writer(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        describe(subcommand, &mut page)?;
    }
    man.render_extra_section(&mut page)?;
    let mut files = Roff::new();
    files.control("SH", ["FILES"]);
    for (file, what) in FILES {
        files.control("TP", []).text([bold(*file)]).text([roman(*what)]);
    }
    files.to_writer(&mut page)?;
    Ok(page)
}

/// A command: how it is called, what it does, its arguments; then those below it.
fn describe(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
    Roff::new().control("SS", [usage.as_str()]).to_writer(page)?;
    // `up` says at its end what the page says at its own.
    let short = command.clone().after_help(None::<&str>).after_long_help(None::<&str>);
    Roff::new().text([roman(short.get_about().map(ToString::to_string).unwrap_or_default())]).to_writer(page)?;
    for argument in short.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let mut names = Vec::new();
        if let Some(name) = argument.get_long() {
            names.push(bold(format!("--{name}")));
        }
        if argument.get_action().takes_values() {
            let value =
                argument.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
            let lead = if names.is_empty() { "" } else { " " };
            names.push(roman(format!("{lead}{value}")));
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        Roff::new().control("TP", []).text(names).text([roman(help)]).to_writer(page)?;
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        describe(below, page)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Arg, Command};

    use super::man_page;

    #[test]
    fn every_command_is_in_the_page_with_its_arguments_and_hidden_ones_are_not() {
        let command = Command::new("roomd").version("1.2.3").about("A server").subcommands([
            Command::new("scale").about("Change the number").arg(Arg::new("N").help("How many")),
            Command::new("sockets").subcommand(Command::new("join").about("Join rooms").arg(Arg::new("in").long("in"))),
            Command::new("worker").hide(true),
        ]);
        let page = String::from_utf8(man_page(command).unwrap()).unwrap();
        for words in
            [".TH roomd 1", "1.2.3", ".SS \"roomd scale", "How many", "roomd sockets join", "\\-\\-in", ".SH FILES"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!page.contains("worker"), "{page}");
    }
}
