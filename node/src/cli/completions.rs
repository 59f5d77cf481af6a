//! `metanode completions`: a completion script, generated from the same tree that parses.

use super::failure::Done;

/// Print a completion script.
#[derive(clap::Args, Debug)]
pub struct CompletionsArgs {
    /// Shell that it is for
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Shell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

/// Prints the script.
pub fn run(args: CompletionsArgs) -> Done {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "metanode", &mut script);
    super::output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
