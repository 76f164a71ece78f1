//! A folder of pages without an engine: what outlasts the process, what goes, and what is left alone.

use super::*;
use crate::pages::Space;
use std::fs;
use std::sync::Mutex;

const LEN: usize = 100;

fn key(token: u32) -> Key {
    Namespace::new(&[]).key(Link::Start(Space::default()), &[token])
}

/// A cache in `folder` with room for `pages`, and the lines that it says.
fn open(folder: &Path, pages: u64) -> (DiskCache, Arc<Mutex<Vec<String>>>) {
    let bytes = pages * DiskCache::file_bytes(LEN);
    let settings = DiskSettings { folder: folder.to_owned(), bytes, weights: [0; 32], form: WeightForm::Exact };
    let said = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&said);
    (DiskCache::open(settings, move |line| lines.lock().unwrap().push(line.to_owned())).unwrap(), said)
}

fn write(disk: &DiskCache, tokens: impl IntoIterator<Item = u32>) {
    tokens.into_iter().for_each(|token| disk.write(key(token), vec![token as u8; LEN]));
    disk.writer().wait(Duration::from_secs(60));
}

/// The first byte of a page, if it comes.
fn read(disk: &DiskCache, token: u32) -> Option<u8> {
    disk.read(7, key(token), LEN);
    let Ok(Some(arrival)) = disk.wait(Duration::from_secs(60)) else { panic!("no arrival") };
    assert_eq!(arrival.ticket, 7);
    arrival.content.map(|content| content[0])
}

fn has(disk: &DiskCache, tokens: impl IntoIterator<Item = u32>) -> Vec<u32> {
    tokens.into_iter().filter(|token| disk.has(key(*token))).collect()
}

#[test]
fn pages_and_the_order_of_their_use_outlast_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/cache");
    let (disk, said) = open(&folder, 4);
    write(&disk, 1..=4);
    disk.touch(vec![key(2), key(1)]);
    // Dropped, it does first what it was told.
    disk.write(key(4), vec![9; LEN]);
    drop(disk);
    let (disk, _) = open(&folder, 4);
    assert_eq!(has(&disk, 0..9), [1, 2, 3, 4]);
    assert_eq!(disk.counts().bytes, 4 * DiskCache::file_bytes(LEN));
    assert_eq!((read(&disk, 3), read(&disk, 4), read(&disk, 5)), (Some(3), Some(4), None), "a page is written once");
    write(&disk, [5]);
    assert_eq!(has(&disk, 0..9), [1, 2, 4, 5], "3 was used first");
    write(&disk, [6, 7]);
    assert_eq!(has(&disk, 0..9), [1, 5, 6, 7]);
    drop(disk);
    // A smaller budget holds at once.
    let (disk, _) = open(&folder, 2);
    assert_eq!((has(&disk, 0..9), disk.counts().bytes), (vec![6, 7], 2 * DiskCache::file_bytes(LEN)));
    assert!(said.lock().unwrap().is_empty());
}

#[test]
fn the_budget_is_kept_and_what_is_larger_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = open(folder.path(), 3);
    for token in 0..40 {
        write(&disk, [token]);
        let files = fs::read_dir(folder.path()).unwrap().flatten();
        let pages = files.filter(|file| file.file_name().to_string_lossy().ends_with(".page"));
        let bytes: u64 = pages.map(|page| page.metadata().unwrap().len()).sum();
        assert_eq!(bytes, disk.counts().bytes);
        assert!(bytes <= 3 * DiskCache::file_bytes(LEN));
    }
    disk.write(key(99), vec![0; 4 * LEN + 4 * file::OVERHEAD as usize]);
    write(&disk, []);
    assert_eq!((disk.counts().written, disk.counts().unwritten), (40, 1));
    assert_eq!(has(&disk, 0..100), [37, 38, 39]);
}

#[test]
fn what_is_not_right_is_deleted_and_said_and_what_is_not_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = |token| folder.path().join(format!("{}.page", key(token)));
    let (disk, _) = open(folder.path(), 100);
    write(&disk, 1..=6);
    drop(disk);
    fs::write(path(1), "").unwrap();
    fs::write(path(2), [7; LEN + file::OVERHEAD as usize]).unwrap();
    fs::copy(path(6), path(3)).unwrap();
    let mut flipped = fs::read(path(4)).unwrap();
    flipped[60] ^= 1;
    fs::write(path(4), flipped).unwrap();
    fs::write(path(5), [fs::read(path(5)).unwrap(), vec![0]].concat()).unwrap();
    let unfinished = folder.path().join(format!("{}.partial", key(8)));
    let others = ["letters.txt", "thesis.page", "0000.partial"].map(|name| folder.path().join(name));
    [&unfinished].into_iter().chain(&others).for_each(|path| fs::write(path, "mine").unwrap());
    let (disk, said) = open(folder.path(), 100);
    assert_eq!((1..=6).map(|token| read(&disk, token)).collect::<Vec<_>>(), [None, None, None, None, None, Some(6)]);
    let said = said.lock().unwrap();
    assert_eq!((said.len(), disk.counts().refused), (5, 5), "{said:?}");
    for (line, token) in said.iter().zip(1..) {
        assert!(line.contains(&key(token).to_string()) && line.ends_with("it was deleted") && !line.contains('\n'));
    }
    assert_eq!((1..=6).filter(|token| path(*token).exists()).collect::<Vec<_>>(), [6]);
    assert_eq!((has(&disk, 0..9), disk.counts().bytes), (vec![6], DiskCache::file_bytes(LEN)));
    assert!(!unfinished.exists() && others.iter().all(|path| path.exists()));
    // What is deleted by others is no page any more, and nothing to speak of.
    fs::remove_file(path(6)).unwrap();
    assert_eq!((read(&disk, 6), has(&disk, 0..9), disk.counts().refused), (None, vec![], 5));
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, _) = open(folder.path(), 9);
    let again = |folder: &Path| {
        DiskCache::open(DiskSettings { folder: folder.to_owned(), ..disk.settings().clone() }, |line| panic!("{line}"))
    };
    let Err(error) = again(folder.path()) else { panic!("two have it") };
    assert!(matches!(error, DiskError::Held(_)) && error.to_string().contains("--cache-dir"), "{error}");
    // Where there can be no folder there is no cache.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = again(&file.join("cache")) else { panic!("a folder in a file") };
    assert!(matches!(error, DiskError::Folder { .. }) && error.to_string().contains("file"), "{error}");
    write(&disk, [1]);
    drop(disk);
    assert_eq!(has(&open(folder.path(), 9).0, 0..9), [1]);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let (disk, said) = open(&path, 9);
    write(&disk, [1]);
    // Permissions do not stop whoever may do anything, as tests often may.
    fs::remove_dir_all(&path).unwrap();
    write(&disk, [2, 3]);
    assert_eq!((disk.counts().written, disk.counts().unwritten), (1, 2));
    assert_eq!((read(&disk, 1), read(&disk, 2)), (None, None));
    let said = said.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("answers go on without it") && !said[0].contains('\n'), "{said:?}");
}

/// Whoever waits for a page must not wait for ever.
#[test]
fn the_end_of_the_thread_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut disk, _) = open(folder.path(), 9);
    assert!(matches!(disk.arrival(), Ok(None)) && matches!(disk.wait(Duration::ZERO), Ok(None)));
    disk.worker.close();
    disk.thread.take().unwrap().join().unwrap();
    disk.read(7, key(1), LEN);
    assert!(disk.arrival().is_err() && disk.wait(Duration::from_secs(60)).is_err());
    // What nobody writes any more fills up and is not handed over.
    assert!(disk.has_room(IN_FLIGHT + 1), "one always may");
    disk.write(key(1), vec![0; LEN]);
    assert!(disk.has_room(IN_FLIGHT - LEN) && !disk.has_room(IN_FLIGHT - LEN + 1));
}

#[cfg(unix)]
#[test]
fn the_folder_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let (disk, _) = open(&path, 9);
    write(&disk, [1]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.path().join("a"))), (0o700, 0o700));
    assert_eq!(mode(&path.join(format!("{}.page", key(1)))), 0o600);
}
