//! The file of one page: a mark, the format, the page's name, its content, and BLAKE3 of all these.
//!
//! The checksum finds what was torn, truncated or altered by accident, a flipped bit included. It is no protection from
//! somebody who may write in the folder. Files are not forced to the disk: what a power failure leaves of one does not
//! pass the check.

use super::key::{FORMAT, Key};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::{Deref, Range};
use std::path::Path;
use std::time::SystemTime;

/// How the file of a page begins.
const MARK: [u8; 8] = *b"picnicKV";
/// Bytes before the content.
const HEAD: usize = MARK.len() + size_of::<u32>() + KEY;
const KEY: usize = 32;
const CHECKSUM: usize = 32;

/// Bytes of a file beside its content.
pub(super) const OVERHEAD: u64 = (HEAD + CHECKSUM) as u64;

/// The content of a page that passed every check.
pub(crate) struct Content(Vec<u8>);

impl Deref for Content {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0[HEAD..self.0.len() - CHECKSUM]
    }
}

/// Why there is no content.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is no file.
    Missing,
    /// The system does not give it now, and may later.
    Failed(io::Error),
    /// The file is not to be used.
    Unfit(String),
}

/// Writes the page `key` to `path`, whole or not at all, in place of what is there. `partial` is the temporary name.
pub(super) fn write(path: &Path, partial: &Path, key: Key, content: &[u8]) -> io::Result<()> {
    let written = write_to(partial, key, content).and_then(|()| fs::rename(partial, path));
    if written.is_err() {
        // It would take room that the budget does not know of.
        let _ = fs::remove_file(partial);
    }
    written
}

fn write_to(path: &Path, key: Key, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let head = head(key);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head).update(content);
    file.write_all(&head)?;
    file.write_all(content)?;
    file.write_all(hasher.finalize().as_bytes())
}

/// Reads the page `key` of `len` bytes from `path`.
pub(super) fn read(path: &Path, key: Key, len: usize) -> Result<Content, Unread> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Failed(error),
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let expected = OVERHEAD + len as u64;
    if !about.is_file() || about.len() != expected {
        return Err(Unread::Unfit(format!("has {} bytes in place of {expected}", about.len())));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(HEAD + len + CHECKSUM + 1).map_err(|_| failed(ErrorKind::OutOfMemory.into()))?;
    // One byte more than there should be shows a file that grows meanwhile.
    file.take(expected + 1).read_to_end(&mut bytes).map_err(failed)?;
    check(&bytes, key, len).map_err(|problem| Unread::Unfit(problem.to_owned()))?;
    Ok(Content(bytes))
}

/// Whether `bytes` are the page `key` with `len` bytes of content.
fn check(bytes: &[u8], key: Key, len: usize) -> Result<(), &'static str> {
    if bytes.len() != HEAD + len + CHECKSUM {
        return Err("was changed while it was read");
    }
    let (rest, checksum) = bytes.split_at(HEAD + len);
    let part = |range: Range<usize>| &rest[range];
    if part(0..MARK.len()) != MARK {
        return Err("is no page of a cache");
    }
    if blake3::hash(rest).as_bytes()[..] != *checksum {
        return Err("is damaged");
    }
    if rest[..HEAD] != head(key) {
        return Err("holds another page than its name says");
    }
    Ok(())
}

fn head(key: Key) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let (mark, rest) = head.split_at_mut(MARK.len());
    let (format, name) = rest.split_at_mut(size_of::<u32>());
    mark.copy_from_slice(&MARK);
    format.copy_from_slice(&FORMAT.to_le_bytes());
    name.copy_from_slice(key.bytes());
    head
}

/// Sets when a file was last used. Where that does not work, files go in another order, and nothing else is lost.
pub(super) fn stamp(path: &Path, time: SystemTime) {
    let _ = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(time));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Link, Namespace};
    use crate::pages::Space;
    use proptest::prelude::*;

    fn key(token: u32) -> Key {
        Namespace::new(&[]).key(Link::Start(Space::default()), &[token])
    }

    fn whole(key: Key, content: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        write(&path, &folder.path().join("partial"), key, content).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(read(&path, key, content.len()).ok().map(|content| content.to_vec()), Some(content.to_vec()));
        fs::read(path).unwrap()
    }

    proptest! {
        /// No byte can be another one, be missing or be too many.
        #[test]
        fn no_altered_file_passes(
            content in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
            garbage in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let good = whole(key(1), &content);
            let len = content.len();
            prop_assert!(check(&good, key(1), len).is_ok());
            prop_assert!(check(&good, key(2), len).is_err() && check(&good, key(1), len + 1).is_err());
            let mut flipped = good.clone();
            flipped[at.index(good.len())] ^= flip;
            prop_assert!(check(&flipped, key(1), len).is_err());
            prop_assert!(check(&good[..cut.index(good.len())], key(1), len).is_err());
            prop_assert!(check(&[&good[..], &[flip]].concat(), key(1), len).is_err());
            prop_assert!(check(&garbage, key(1), garbage.len().saturating_sub(HEAD + CHECKSUM)).is_err());
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(&folder.path().join("none"), key(1), 9), Err(Unread::Missing)));
        assert!(matches!(read(folder.path(), key(1), 9), Err(Unread::Unfit(_) | Unread::Failed(_))));
        // Where the name of a page is a folder's, nothing is written and nothing is left.
        let (taken, partial) = (folder.path().join("page"), folder.path().join("partial"));
        fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(write(&taken, &partial, key(1), b"content").is_err() && !partial.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        write(&path, &folder.path().join("partial"), key(1), b"content").unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
