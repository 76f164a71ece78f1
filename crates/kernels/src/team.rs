//! A team of threads that split the outputs of one operation.
//!
//! Work is split by output rows, columns or heads, never within a reduction, so the size of the team changes no bit.
//! While a model runs, operations follow each other within microseconds, which is less than it takes to wake a thread. So
//! members look for the next one for a moment before they sleep. Whoever comes too late is not waited for: the others
//! have done its part by then.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread looks for what it waits for before it sleeps.
const AWAKE: Duration = Duration::from_micros(200);

/// Looks between two at the clock, after which other programs get a turn.
const LOOKS: usize = 64;

/// One or more threads that work on one operation at a time.
pub struct Team {
    crew: Option<Crew>,
}

impl Team {
    /// A team of `threads`; one thread (or none) means the caller's own.
    ///
    /// # Errors
    /// If the system refuses to start the threads.
    pub fn new(threads: usize) -> Result<Team, std::io::Error> {
        let crew = (threads > 1).then(|| Crew::new(threads - 1)).transpose()?;
        Ok(Team { crew })
    }

    /// The caller's own thread.
    pub fn solo() -> Team {
        Team { crew: None }
    }

    /// Threads in the team.
    pub fn size(&self) -> usize {
        self.crew.as_ref().map_or(1, |crew| crew.members.len() + 1)
    }

    /// Calls `work` on disjoint ranges that cover `0..n`, each a multiple of `grain` long but for the last.
    pub fn split(&self, n: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
        self.split_in(n, grain, 1, work);
    }

    /// The same in up to `pieces` ranges for each thread: whoever is free takes the next, so that one whose core is slower,
    /// or shared with another program, holds nobody up.
    pub fn split_in(&self, n: usize, grain: usize, pieces: usize, work: impl Fn(Range<usize>) + Sync) {
        let grain = grain.max(1);
        let pieces = n.div_ceil(grain).min(if self.size() > 1 { self.size() * pieces } else { 1 });
        if pieces < 2 {
            if n > 0 {
                work(0..n);
            }
            return;
        }
        let step = n.div_ceil(pieces).next_multiple_of(grain);
        self.share(n.div_ceil(step), |piece| work(piece * step..n.min((piece + 1) * step)));
    }

    /// Calls `work` on each of `0..units`; whoever of the team is free takes the next.
    pub fn share(&self, units: usize, work: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        let take = || {
            loop {
                let unit = next.fetch_add(1, Ordering::Relaxed);
                if unit >= units {
                    return;
                }
                work(unit);
            }
        };
        match &self.crew {
            Some(crew) if units > 1 => crew.run(units - 1, &take),
            _ => take(),
        }
    }
}

/// The caller's helpers.
struct Crew {
    board: Arc<Board>,
    members: Vec<JoinHandle<()>>,
    /// Held by whoever gives them work.
    leads: Mutex<()>,
}

/// Where members find their work.
struct Board {
    /// The last operation: its number, times [`OPERATION`], [`OPEN`] while members may join it, and how many have.
    state: OwnLine<AtomicU64>,
    /// What to do. It is written while the last operation is closed and has been left by all.
    work: UnsafeCell<Option<Work>>,
    /// Members that have left the operation.
    left: OwnLine<AtomicUsize>,
    /// Who waits for them, and whether it sleeps.
    leader: UnsafeCell<Option<Thread>>,
    leader_sleeps: AtomicBool,
    /// For each member whether it sleeps.
    asleep: Box<[AtomicBool]>,
    is_over: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Numbers of operations count in these.
const OPERATION: u64 = 1 << 32;
/// The operation can be joined.
const OPEN: u64 = 1 << 31;

/// Something with a cache line of its own, and the one that is fetched with it.
#[repr(align(128))]
struct OwnLine<T>(T);

/// What whoever joins is to do. It lives until all that joined have left.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: what it points to may be called from any thread, and `Crew::run` keeps it until all have left.
unsafe impl Send for Work {}
// SAFETY: the cells are written by the leader alone, and only while no member reads them.
unsafe impl Sync for Board {}

impl Crew {
    fn new(members: usize) -> std::io::Result<Crew> {
        let board = Arc::new(Board {
            state: OwnLine(AtomicU64::new(0)),
            work: UnsafeCell::new(None),
            left: OwnLine(AtomicUsize::new(0)),
            leader: UnsafeCell::new(None),
            leader_sleeps: AtomicBool::new(false),
            asleep: (0..members).map(|_| AtomicBool::new(false)).collect(),
            is_over: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut crew = Crew { board, members: Vec::new(), leads: Mutex::new(()) };
        for number in 0..members {
            let board = Arc::clone(&crew.board);
            let thread = std::thread::Builder::new().name(format!("team {}", number + 1));
            crew.members.push(thread.spawn(move || board.serve(number))?);
        }
        Ok(crew)
    }

    /// Calls `work` on this thread, and on each of up to `most` members that comes before this one is done; returns when
    /// all have. If the crew works for somebody else, be it this thread, it is called on this one alone.
    fn run(&self, most: usize, work: &(dyn Fn() + Sync)) {
        let _leads = match self.leads.try_lock() {
            Ok(leads) => leads,
            // Whoever panicked in its work has waited for its members.
            Err(TryLockError::Poisoned(leads)) => leads.into_inner(),
            Err(TryLockError::WouldBlock) => return work(),
        };
        let board = &*self.board;
        // SAFETY: only the lifetime is forgotten, and nobody calls it after the end of this function.
        let lasting: *const (dyn Fn() + Sync) = unsafe { std::mem::transmute(work) };
        // SAFETY: the last operation is closed and left, and the lock keeps other leaders out.
        unsafe {
            *board.work.get() = Some(Work(lasting));
            *board.leader.get() = Some(std::thread::current());
        }
        board.left.0.store(0, Ordering::Relaxed);
        let number = board.state.0.load(Ordering::Relaxed) / OPERATION + 1;
        board.state.0.store((number * OPERATION) | OPEN, Ordering::SeqCst);
        for (asleep, member) in board.asleep.iter().zip(&self.members).take(most) {
            // Either it is seen here that it sleeps, or it sees the new operation before it does.
            if asleep.swap(false, Ordering::SeqCst) {
                member.thread().unpark();
            }
        }
        let mine = catch_unwind(AssertUnwindSafe(work));
        let joined = (board.state.0.fetch_and(!OPEN, Ordering::AcqRel) & (OPEN - 1)) as usize;
        let all_left = || board.left.0.load(Ordering::SeqCst) == joined;
        while !look_for_a_moment(all_left) {
            board.leader_sleeps.store(true, Ordering::SeqCst);
            if !all_left() {
                std::thread::park();
            }
            board.leader_sleeps.store(false, Ordering::SeqCst);
        }
        let theirs = board.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = mine.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Board {
    /// The life of member `number`.
    fn serve(&self, number: usize) {
        let mut seen = 0;
        while !self.is_over.load(Ordering::Acquire) {
            let is_new = || self.state.0.load(Ordering::SeqCst) / OPERATION != seen;
            if !look_for_a_moment(is_new) {
                self.asleep[number].store(true, Ordering::SeqCst);
                if !is_new() {
                    std::thread::park();
                }
                self.asleep[number].store(false, Ordering::SeqCst);
                continue;
            }
            seen = self.state.0.load(Ordering::SeqCst) / OPERATION;
            if self.joins(seen) {
                self.work_and_leave();
            }
        }
    }

    /// Joins operation `number` if it still can be.
    fn joins(&self, number: u64) -> bool {
        let one_more = |state: u64| (state / OPERATION == number && state & OPEN > 0).then_some(state + 1);
        self.state.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    fn work_and_leave(&self) {
        // SAFETY: whoever has joined reads what was written before the operation was opened, and the leader writes no more
        // of it before everybody has left.
        let (work, leader) = unsafe { (*self.work.get(), (*self.leader.get()).clone()) };
        let Some(Work(work)) = work else { unreachable!("an operation without work") };
        // SAFETY: the leader keeps it until this member has left.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)() })) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.left.0.fetch_add(1, Ordering::SeqCst);
        if self.leader_sleeps.load(Ordering::SeqCst)
            && let Some(leader) = leader
        {
            leader.unpark();
        }
    }
}

/// Whether `found` comes true within [`AWAKE`].
fn look_for_a_moment(found: impl Fn() -> bool) -> bool {
    let mut since = None;
    loop {
        for _ in 0..LOOKS {
            if found() {
                return true;
            }
            std::hint::spin_loop();
        }
        // The clock costs more than a look, so it is asked only where the first ones were in vain.
        if since.get_or_insert_with(Instant::now).elapsed() > AWAKE {
            return false;
        }
        std::thread::yield_now();
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.is_over.store(true, Ordering::Release);
        // A number that nobody has seen, and that cannot be joined.
        self.board.state.0.fetch_add(OPERATION, Ordering::SeqCst);
        for member in self.members.drain(..) {
            member.thread().unpark();
            let _ = member.join();
        }
    }
}

/// A mutable slice whose disjoint parts several threads of a team may write.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out parts only through `part`, whose caller promises that they don't overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares `slice`.
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), life: std::marker::PhantomData }
    }

    /// The part `range`. Panics if it reaches past the end.
    ///
    /// # Safety
    /// No two parts in use at one time may overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice by the assertion; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where the part `range` starts, for work on some of its values only. Panics if it reaches past the end.
    pub fn pointer(&self, range: Range<usize>) -> *mut T {
        assert!(range.start <= range.end && range.end <= self.len);
        self.start.wrapping_add(range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_once() {
        for threads in 1..5 {
            let team = Team::new(threads).unwrap();
            for n in [0, 1, 7, 12, 100] {
                let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                team.split(n, 4, |range| {
                    assert_eq!(range.start % 4, 0);
                    range.for_each(|i| {
                        seen[i].fetch_add(1, Ordering::Relaxed);
                    });
                });
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                team.share(n, |i: usize| _ = seen[i].fetch_add(1, Ordering::Relaxed));
                assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn work_within_work_and_from_several_threads_is_done() {
        let team = Team::new(3).unwrap();
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        team.share(5, |_: usize| {
                            team.split(7, 2, |range| _ = count.fetch_add(range.len(), Ordering::Relaxed));
                        });
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), 4 * 200 * 5 * 7);
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        let team = Team::new(3).unwrap();
        for _ in 0..5 {
            std::thread::sleep(10 * AWAKE);
            let count = AtomicUsize::new(0);
            // The leader sleeps too if its members take long.
            team.split(9, 1, |range| {
                std::thread::sleep(if range.start == 0 { Duration::ZERO } else { 10 * AWAKE });
                count.fetch_add(range.len(), Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 9);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(3).unwrap();
        for part in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                team.split(3, 1, |range| {
                    std::thread::sleep(Duration::from_millis(1));
                    assert!(range.start != part, "part {part}");
                });
            }));
            let panic = panicked.unwrap_err();
            assert_eq!(panic.downcast_ref::<String>(), Some(&format!("part {part}")));
            let count = AtomicUsize::new(0);
            team.split(3, 1, |range| _ = count.fetch_add(range.len(), Ordering::Relaxed));
            assert_eq!(count.load(Ordering::Relaxed), 3);
        }
    }
}
