//! How the user started the program, for the commands that they are told to type.

use std::env;
use std::path::Path;

/// A command line that was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What comes before the arguments: `picnic`, `./target/release/picnic`, `cargo run --release --`.
    program: String,
    /// The arguments.
    args: Vec<String>,
}

impl Invocation {
    /// That of this process.
    pub fn of_this_process() -> Invocation {
        let args: Vec<String> = env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let executable = env::current_exe().unwrap_or_default();
        Invocation::new(&args, env::var_os("CARGO").is_some(), &executable)
    }

    /// The one with these arguments, the program's own name first. `cargo run` sets `CARGO` and starts an executable
    /// in a folder that is named after the profile.
    pub fn new(args: &[String], is_by_cargo: bool, executable: &Path) -> Invocation {
        let (typed, args) = args.split_first().map_or(("picnic", &[][..]), |(first, rest)| (first.as_str(), rest));
        let folder = executable.parent().and_then(|folder| folder.file_name()?.to_str());
        let program = match (is_by_cargo, folder) {
            (true, Some("debug")) => "cargo run --".to_owned(),
            (true, Some("release")) => "cargo run --release --".to_owned(),
            (true, Some(profile)) => format!("cargo run --profile {} --", quoted(profile)),
            _ => quoted(typed),
        };
        Invocation { program, args: args.to_vec() }
    }

    /// The command with other arguments.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        args.into_iter().fold(self.program.clone(), |command, arg| format!("{command} {}", quoted(arg)))
    }

    /// The same command with `--resume`.
    pub fn resumed(&self) -> String {
        let more = (!self.args.iter().any(|arg| arg == "--resume")).then_some("--resume");
        self.command(self.args.iter().map(String::as_str).chain(more))
    }
}

/// The word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,.@%/".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned(); // The crate would quote every key=value.
    }
    // Nobody can type the one character that is refused.
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |word| word.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &[&str], is_by_cargo: bool, executable: &str) -> Invocation {
        let line: Vec<String> = line.iter().map(|&word| word.to_owned()).collect();
        Invocation::new(&line, is_by_cargo, Path::new(executable))
    }

    #[test]
    fn commands_begin_as_the_user_began() {
        let begun = |program, is_by_cargo, executable| {
            typed(&[program, "r1"], is_by_cargo, executable).command(["chat", "runs/tiny/rl"])
        };
        let built = "/home/me/picnic/target/release/picnic";
        assert_eq!(begun("target/release/picnic", true, built), "cargo run --release -- chat runs/tiny/rl");
        assert_eq!(begun("./target/release/picnic", false, built), "./target/release/picnic chat runs/tiny/rl");
        assert_eq!(begun("picnic", false, "/home/me/.cargo/bin/picnic"), "picnic chat runs/tiny/rl");
        let debug = "/home/me/picnic/target/debug/picnic";
        assert_eq!(begun("target/debug/picnic", true, debug), "cargo run -- chat runs/tiny/rl");
        let profiling = "/home/me/picnic/target/profiling/picnic";
        assert_eq!(begun("x", true, profiling), "cargo run --profile profiling -- chat runs/tiny/rl");
        assert_eq!(
            begun("/my programs/picnic", false, "/my programs/picnic"),
            "'/my programs/picnic' chat runs/tiny/rl"
        );
    }

    #[test]
    fn the_command_to_go_on_is_the_one_that_was_typed() {
        let line = ["picnic", "r1", "my recipe.toml", "tasks=[{name=\"countdown\"}]", "--out", "runs/a"];
        let resumed = typed(&line, false, "picnic").resumed();
        assert_eq!(shlex::split(&resumed).unwrap(), [&line[..], &["--resume"]].concat());
        let again = typed(&["picnic", "r1", "--resume"], false, "picnic").resumed();
        assert_eq!(again, "picnic r1 --resume");
    }
}
