//! What a line typed at the prompt is: a message to the model, or a command to the program, which begins with a slash.

use std::path::PathBuf;

/// What was typed.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// Nothing.
    Empty,
    /// For the model.
    Message(String),
    /// For the program.
    Command(Command),
    /// For the program, which cannot make it out: what to tell the person.
    Mistake(String),
}

/// What the program can be told at the prompt.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Say which commands there are.
    Help,
    /// Forget the conversation.
    Clear,
    /// Set the instructions ahead of the conversation, or remove them.
    System(Option<String>),
    /// Set the temperature, or say what it is.
    Temperature(Option<f32>),
    /// Show the thinking or hide it.
    Think {
        /// Show it.
        show: bool,
    },
    /// Write the conversation to a file.
    Save(PathBuf),
    /// Answer the last question again.
    Retry,
    /// Show statistics after each answer, or stop showing them.
    Stats,
    /// End the program.
    Exit,
}

/// The commands as they are typed, and what each does.
pub const COMMANDS: [(&str, &str); 9] = [
    ("/help", "lists the commands."),
    ("/clear", "forgets the conversation."),
    ("/system TEXT", "sets instructions ahead of the conversation; without a text it removes them."),
    ("/temperature T", "sets the temperature, 0 for the likeliest answer; without a number it says what it is."),
    ("/think show|hide", "shows the thinking before an answer or hides it."),
    ("/save FILE", "writes the conversation to a new file."),
    ("/retry", "answers the last question again."),
    ("/stats", "shows after each answer how fast it came and how long the conversation is, or stops doing so."),
    ("/exit", "leaves, as Ctrl-D and a second Ctrl-C do."),
];

impl Line {
    /// Reads a line. Two slashes at its start stand for one slash at the start of a message.
    pub fn parse(line: &str) -> Line {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() { Line::Empty } else { Line::Message(line.to_owned()) };
        };
        if command.starts_with('/') {
            return Line::Message(command.to_owned());
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match Command::parse(name, rest.trim()) {
            Ok(command) => Line::Command(command),
            Err(mistake) => Line::Mistake(mistake),
        }
    }
}

impl Command {
    fn parse(name: &str, rest: &str) -> Result<Command, String> {
        let given = Some(rest).filter(|rest| !rest.is_empty());
        let command = match (name, given) {
            ("system", text) => Command::System(text.map(str::to_owned)),
            ("temperature", None) => Command::Temperature(None),
            ("temperature", Some(text)) => match text.parse() {
                Ok(temperature @ 0.0..=f32::MAX) => Command::Temperature(Some(temperature)),
                _ => return Err("/temperature takes a number of 0 or more.".to_owned()),
            },
            ("think", Some(word @ ("show" | "hide"))) => Command::Think { show: word == "show" },
            ("think", _) => return Err("/think takes `show` or `hide`.".to_owned()),
            ("save", Some(file)) => Command::Save(file.into()),
            ("save", None) => return Err("/save takes the name of a file.".to_owned()),
            ("help", None) => Command::Help,
            ("clear", None) => Command::Clear,
            ("retry", None) => Command::Retry,
            ("stats", None) => Command::Stats,
            ("exit", None) => Command::Exit,
            ("help" | "clear" | "retry" | "stats" | "exit", Some(_)) => {
                return Err(format!("/{name} takes nothing after it."));
            }
            _ => {
                let names = COMMANDS.map(|(usage, _)| usage.split(' ').next().unwrap_or(usage)).join(" ");
                return Err(format!(
                    "There is no such command. There are {names}; a message that begins with a slash is typed with two."
                ));
            }
        };
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(line: &str) -> String {
        match Line::parse(line) {
            Line::Mistake(text) => text,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn words_go_to_the_model_and_slashes_to_the_program() {
        let message = |text: &str| Line::Message(text.to_owned());
        for (line, parsed) in [
            ("", Line::Empty),
            ("  \n ", Line::Empty),
            ("help", message("help")),
            ("exit", message("exit")),
            ("  What is 1/2? \n", message("What is 1/2?")),
            ("two\nlines", message("two\nlines")),
            ("//etc/hosts is what?", message("/etc/hosts is what?")),
            ("/help", Line::Command(Command::Help)),
            (" /clear ", Line::Command(Command::Clear)),
            ("/retry", Line::Command(Command::Retry)),
            ("/stats", Line::Command(Command::Stats)),
            ("/exit", Line::Command(Command::Exit)),
            ("/system", Line::Command(Command::System(None))),
            ("/system Be brief.\nAlways.", Line::Command(Command::System(Some("Be brief.\nAlways.".to_owned())))),
            ("/temperature", Line::Command(Command::Temperature(None))),
            ("/temperature  0.5", Line::Command(Command::Temperature(Some(0.5)))),
            ("/think hide", Line::Command(Command::Think { show: false })),
            ("/think show", Line::Command(Command::Think { show: true })),
            ("/save my talk.md", Line::Command(Command::Save("my talk.md".into()))),
        ] {
            assert_eq!(Line::parse(line), parsed, "{line:?}");
        }
    }

    #[test]
    fn an_unknown_command_names_those_there_are() {
        for line in ["/quit", "/", "/ help", "/etc/hosts is what?", "/HELP"] {
            let text = mistake(line);
            assert!(!text.contains('\n') && text.contains("with two"), "{text}");
            for (usage, _) in COMMANDS {
                assert!(text.contains(usage.split(' ').next().unwrap()), "{usage}: {text}");
            }
        }
    }

    #[test]
    fn a_known_command_says_what_it_takes() {
        for temperature in ["-1", "NaN", "inf", "warm", "1 2"] {
            assert!(mistake(&format!("/temperature {temperature}")).contains("0 or more"));
        }
        for (line, word) in [("/think", "show"), ("/think of me", "hide"), ("/save", "file"), ("/exit now", "nothing")]
        {
            assert!(mistake(line).contains(word), "{line}");
        }
    }

    #[test]
    fn every_command_listed_exists() {
        for (usage, _) in COMMANDS {
            let line = usage.replace("show|hide", "show").replace(" T", " 1").replace("1EXT", "text");
            assert!(matches!(Line::parse(&line), Line::Command(_)), "{line}");
        }
    }
}
