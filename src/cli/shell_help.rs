//! What shells and `man` know of this program: completion and manual pages, made from the definition of the arguments.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::{Arguments, CompletedShell};
use super::error::CliError;
use super::writer::Writer;

const PROGRAM: &str = "carpel";

/// Prints what a shell needs.
pub(super) fn completion<W: Write>(
    shell: CompletedShell,
    output: &mut Writer<W>,
) -> Result<(), CliError> {
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), PROGRAM, &mut script);
    Ok(output.bytes(&script)?)
}

/// Writes a page for each command: `carpel.1`, `carpel-image.1`, `carpel-image-list.1` …
pub(super) fn man_pages(directory: &Path) -> Result<(), CliError> {
    let failed = |source| CliError::Path {
        path: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    // The pages must not depend on the terminal that they are made on.
    let command = Arguments::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, directory).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(shell: CompletedShell) -> Vec<u8> {
        let mut script = Vec::new();
        completion(shell, &mut Writer::plain(&mut script)).unwrap();
        script
    }

    #[test]
    fn bash_completes_commands_and_options() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("carpel");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&script(CompletedShell::Bash)).unwrap();
        // What bash does when somebody presses the tabulator behind these words.
        let test = r#"
            set -eu; . "$1"
            complete -p carpel >/dev/null
            try() {
                COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
                _carpel carpel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
                echo "${COMPREPLY[*]}"
            }
            try carpel port
            try carpel image pru
            try carpel ps --no-t
            try carpel ps --state ex"#;
        let output = std::process::Command::new("bash")
            .args(["-c", test, "bash"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines, ["port-forward", "prune", "--no-trunc", "exited"]);
    }

    #[test]
    fn zsh_and_fish_are_told_every_command() {
        for shell in [CompletedShell::Zsh, CompletedShell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for command in Arguments::command().get_subcommands() {
                let name = command.get_name();
                assert!(
                    command.is_hide_set() || script.contains(name),
                    "{shell:?}: {name}"
                );
            }
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        man_pages(&pages).unwrap();
        let mut missing = Vec::new();
        look(&Arguments::command(), PROGRAM, &pages, &mut missing);
        assert!(missing.is_empty(), "{missing:?}");
        let page = std::fs::read_to_string(pages.join("carpel-image-pull.1")).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }

    fn look(command: &clap::Command, name: &str, pages: &Path, missing: &mut Vec<String>) {
        if !pages.join(format!("{name}.1")).is_file() {
            missing.push(name.to_owned());
        }
        for command in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = format!("{name}-{}", command.get_name());
            look(command, &name, pages, missing);
        }
    }
}
