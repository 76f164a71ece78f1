//! Messages typed in earlier runs, kept in the platform's folder for data of programs.
//!
//! Where the folder cannot be written, there is no history from run to run, and that is no error: the conversation
//! works without.

use etcetera::BaseStrategy;
use rustyline::DefaultEditor;
use std::path::{Path, PathBuf};

/// The file with the messages, if the platform has a place for it.
pub fn file() -> Option<PathBuf> {
    Some(etcetera::base_strategy::choose_native_strategy().ok()?.data_dir().join("picnic").join("history.txt"))
}

/// Reads what earlier runs kept.
pub fn load(editor: &mut DefaultEditor, file: &Path) {
    let _ = editor.load_history(file);
}

/// Keeps what was typed. Only its owner can read the file.
pub fn keep(editor: &mut DefaultEditor, file: &Path) {
    let folder_is_there = file.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok());
    if folder_is_there {
        let _ = editor.append_history(file);
    }
}
