//! What only a terminal has: the full screen, which Ctrl-Z leaves and `fg` takes again, and the line editor of `chat`.
//! A shell with job control runs the program, as a person's does. Windows has neither signals nor this kind of terminal.

use crate::program::{Folder, recipe};
use rexpect::session::{PtyReplSession, spawn_bash};

/// Milliseconds until a terminal that does not say what it should fails the test.
const PATIENCE: u64 = 60_000;
/// What takes a screen of its own, and what leaves it.
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// A shell in a terminal of 100 by 30, which speaks English.
fn shell() -> PtyReplSession {
    let shell = spawn_bash(Some(PATIENCE)).expect("bash, which these tests type into");
    let mut shell = shell.quit_command(Some("exit".to_owned()));
    for line in ["stty rows 30 cols 100", "export LC_ALL=C TERM=xterm-256color", "unset CARGO NO_COLOR PICNIC_ISA"] {
        shell.send_line(line).unwrap();
        shell.wait_for_prompt().unwrap();
    }
    shell
}

#[test]
fn ctrl_z_leaves_the_full_screen_and_fg_takes_it_again() {
    let folder = Folder::new();
    let out = folder.join("run");
    let mut shell = shell();
    let [program, recipe, out] = [env!("CARGO_BIN_EXE_picnic"), &recipe("smoke/r1.toml"), out.to_str().unwrap()];
    shell.send_line(&format!("'{program}' r1 '{recipe}' --out '{out}' rl.steps=1000000 controls=false")).unwrap();
    shell.exp_string(ENTERS).unwrap();

    shell.send_control('z').unwrap();
    shell.exp_string(LEAVES).unwrap();
    shell.exp_string("Stopped").unwrap();
    shell.wait_for_prompt().unwrap();
    // In the background it goes on, and leaves the screen to whoever types there.
    shell.send_line("bg").unwrap();
    shell.wait_for_prompt().unwrap();
    shell.send_line("sleep 1; jobs").unwrap();
    let seen = shell.exp_string("Running").unwrap();
    assert!(!seen.contains(ENTERS), "{seen:?}");
    shell.wait_for_prompt().unwrap();

    shell.send_line("fg").unwrap();
    shell.exp_string(ENTERS).unwrap();
    shell.send_control('c').unwrap();
    shell.exp_string(LEAVES).unwrap();
    shell.exp_string("To go on:").unwrap();
    shell.wait_for_prompt().unwrap();
}

#[test]
fn chat_edits_lines_and_remembers_them() {
    let folder = Folder::new();
    let mut shell = shell();
    let home = folder.join("home");
    shell.send_line(&format!("export HOME='{0}' XDG_DATA_HOME='{0}'", home.display())).unwrap();
    shell.wait_for_prompt().unwrap();
    let chat = format!("'{}' chat nano", env!("CARGO_BIN_EXE_picnic"));
    let press = |shell: &mut PtyReplSession, keys: &str| {
        shell.send(keys).unwrap();
        shell.flush().unwrap();
    };

    shell.send_line(&chat).unwrap();
    shell.exp_string("> ").unwrap();
    // What is pasted is not sent line by line: Enter sends it.
    press(&mut shell, "\u{1b}[200~What is\n12+7?\u{1b}[201~");
    press(&mut shell, "\r");
    shell.exp_string("19").unwrap();
    press(&mut shell, "Spell bat.\r");
    shell.exp_string("b-a-t").unwrap();
    press(&mut shell, "/exit\r");
    shell.wait_for_prompt().unwrap();

    // The arrow brings back what an earlier run was asked, behind the command that ended it.
    shell.send_line(&chat).unwrap();
    shell.exp_string("> ").unwrap();
    press(&mut shell, "\u{1b}[A\u{1b}[A\r");
    shell.exp_string("b-a-t").unwrap();
    shell.exp_string("> ").unwrap();
    shell.send_control('c').unwrap();
    shell.exp_string("Press Ctrl-C once more to leave.").unwrap();
    shell.send_control('c').unwrap();
    shell.wait_for_prompt().unwrap();
}
