//! What is made of the command line's definitions and committed: the manual page
//! and the completions.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::harness::same_or_write;

#[allow(dead_code)] // here only what the definitions say is looked at, not what was given
#[path = "../../src/bin/twal/cli.rs"]
mod cli;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// With everything that clap adds itself.
fn built() -> Command {
    let mut command = cli::Cli::command();
    command.build();
    command
}

#[test]
fn completions_are_of_these_definitions() {
    for (shell, file) in [(Shell::Bash, "twal.bash"), (Shell::Zsh, "_twal"), (Shell::Fish, "twal.fish")] {
        let mut made = Vec::new();
        clap_complete::generate(shell, &mut cli::Cli::command(), "twal", &mut made);
        same_or_write(&root("completions").join(file), &String::from_utf8(made).unwrap());
    }
}

#[test]
fn the_manual_page_is_of_these_definitions() {
    same_or_write(&root("man/twal.1"), &page());
}

/// Every subcommand and every option of it, however deep.
#[test]
fn the_manual_page_speaks_of_everything() {
    let page = std::fs::read_to_string(root("man/twal.1"))
        .unwrap()
        .replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fR", "");
    let mut options = 0;
    for command in leaves(&built()) {
        assert!(page.contains(&format!(".SS {}\n", command.get_bin_name().unwrap())), "{:?}", command.get_bin_name());
        for long in command.get_arguments().filter_map(|arg| arg.get_long()) {
            assert!(page.contains(&format!("--{long}")), "--{long} of {:?}", command.get_bin_name());
            options += 1;
        }
    }
    assert!(options > 50, "{options}");
    for section in ["EXIT STATUS", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
}

#[test]
fn the_manual_page_is_clean() {
    let output = Process::new("groff").args(["-man", "-ww", "-z", "-Tutf8"]).arg(root("man/twal.1")).output();
    let Ok(output) = output else { return println!("skipped: there is no groff here") };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn completions_are_scripts() {
    let bash = Process::new("bash").arg("-n").arg(root("completions/twal.bash")).output();
    let Ok(bash) = bash else { return println!("skipped: there is no bash here") };
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
}

/// The commands that do something.
fn leaves(command: &Command) -> Vec<Command> {
    if command.get_subcommands().next().is_none() {
        return vec![command.clone()];
    }
    command.get_subcommands().flat_map(leaves).collect()
}

/// What clap's own generator makes of one part, without the title of its section.
fn part(
    render: impl FnOnce(&clap_mangen::Man, &mut dyn std::io::Write) -> std::io::Result<()>,
    command: &Command,
) -> String {
    let man = clap_mangen::Man::new(command.clone());
    let mut made = Vec::new();
    render(&man, &mut made).unwrap();
    let made = String::from_utf8(made).unwrap();
    let lines =
        made.lines().filter(|line| !line.starts_with(".SH") && !line.starts_with(".ie") && !line.starts_with(".el"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn page() -> String {
    let command = built();
    let mut page = format!(".\\\" made by tests/tool/made.rs of src/bin/twal/cli.rs: make tool-text\n.TH TWAL 1 \"\" \"twal {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"));
    // A quote, which clap's generator writes as this string.
    page += ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    page += ".SH NAME\ntwal \\- looks at write-ahead logs, and keeps them in order\n";
    page += ".SH SYNOPSIS\n.B twal\n.I command\n.RI [ options ]\n.I log\n.RI [ arguments ]\n";
    page += ".SH DESCRIPTION\n";
    page += &part(|man, out| man.render_description_section(out), &command);
    page += "What it prints for people may change; with \\fB\\-\\-json\\fR only fields are added.\n";
    page += ".SH COMMANDS\n";
    for leaf in leaves(&command) {
        page += &format!(".SS {}\n", leaf.get_bin_name().unwrap().replace('-', "\\-"));
        page += &part(|man, out| man.render_synopsis_section(out), &leaf);
        page += ".PP\n";
        page += &part(|man, out| man.render_description_section(out), &leaf);
        page += &part(|man, out| man.render_options_section(out), &leaf);
    }
    page + &std::fs::read_to_string(root("tests/tool/manual.1")).unwrap()
}
