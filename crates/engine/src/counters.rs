//! What an engine has done and what it holds, in numbers.

/// Counts since the engine began, and what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that have not started, or wait to go on.
    pub waiting: usize,
    /// Requests that run.
    pub running: usize,
    /// Tokens that the cache can hold.
    pub cache_tokens: usize,
    /// Tokens in pages that running requests use.
    pub used_tokens: usize,
    /// Tokens in pages that nobody uses, kept for whoever begins alike.
    pub idle_tokens: usize,
    /// Pages that were kept and had to make room.
    pub evicted_pages: u64,
    /// Pages that were read from disk in place of being computed.
    pub disk_pages_read: u64,
    /// Pages that were written to disk.
    pub disk_pages_written: u64,
    /// Pages that should have been and were not: the disk was too slow or had no room.
    pub disk_pages_unwritten: u64,
    /// Files that were not used because they are damaged or none of ours.
    pub disk_pages_refused: u64,
    /// Bytes of all files of pages.
    pub disk_bytes: u64,
    /// Requests taken.
    pub submitted: u64,
    /// Requests whose last token has come.
    pub finished: u64,
    /// Requests cancelled before that.
    pub cancelled: u64,
    /// Requests that ended because memory ran out.
    pub dropped: u64,
    /// Times that a request had to give its pages to others, to be read again later.
    pub preempted: u64,
    /// Forward passes.
    pub passes: u64,
    /// Tokens of prompts of requests that have started.
    pub prompt_tokens: u64,
    /// Those of them that were in the cache already.
    pub reused_tokens: u64,
    /// Rows of all passes: tokens read, tokens read again, and guesses.
    pub rows: u64,
    /// Tokens drawn for answers.
    pub drawn: u64,
    /// Guesses at tokens that were checked.
    pub guessed: u64,
    /// Guesses that came true.
    pub guessed_right: u64,
    /// Those of the checked guesses that the model's module for multi-token prediction made.
    pub guessed_by_module: u64,
    /// Those of them that came true.
    pub guessed_by_module_right: u64,
}
