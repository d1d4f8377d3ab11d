//! Supervised threads: a thread that hangs is abandoned and replaced by a new one.
//!
//! A thread cannot be killed from outside, whether it is stuck in a decoder loop, on a lock or on a disk. It is possible,
//! however, to answer the clients that wait for it, to count it, and to continue with a new thread. The number of threads that
//! may hang at the same time is bounded, since each keeps its memory and perhaps a core; a thread that returns after all frees
//! its slot.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// A unit of work for one thread.
pub(crate) struct Task {
    /// Does the work.
    pub run: Box<dyn FnOnce(&Worker) + Send>,
    /// Notifies the waiting clients that the thread hangs.
    pub give_up: Box<dyn FnOnce() + Send>,
}

/// Source of work: blocks until there is some, and returns `None` once there will be no more.
pub(crate) type Source = Arc<dyn Fn() -> Option<Task> + Send + Sync>;

/// Number of threads, and how long one may go without a heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub n_threads: usize,
    /// Maximum time between two heartbeats.
    pub limit: Duration,
    /// Maximum number of threads that hang at the same time; above it, no new ones are started.
    pub max_hung: usize,
}

/// A pool of supervised threads that take work from one source.
pub(crate) struct WorkerPool {
    spec: Spec,
    source: Source,
    slots: Mutex<Vec<Arc<WorkerSlot>>>,
    /// Number of abandoned threads that have not returned.
    n_hung: AtomicUsize,
    /// Counts all threads that were ever abandoned.
    given_up: Counter,
}

/// Slot of a thread in its pool, through which it is supervised.
#[derive(Default)]
pub(crate) struct WorkerSlot(Mutex<State>);

#[derive(Default)]
struct State {
    /// Last heartbeat; `None` while the thread is idle.
    since: Option<Instant>,
    give_up: Option<Box<dyn FnOnce() + Send>>,
    is_given_up: bool,
    has_left: bool,
}

/// Thread context that is passed to the work.
pub(crate) struct Worker {
    /// The thread's slot, which receives its heartbeats.
    pub slot: Arc<WorkerSlot>,
    pool: OnceCell<Option<ThreadPool>>,
}

impl Worker {
    /// Runs a computation on this worker's own thread pool. Work that hangs there does not block other workers, and a thread
    /// never steals work from another worker while it waits for its own.
    pub fn compute<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let pool = self.pool.get_or_init(|| ThreadPoolBuilder::new().build().ok());
        match pool {
            Some(pool) => pool.install(run),
            // If no pool could be created, use the global one.
            None => run(),
        }
    }
}

/// Locks a mutex, even if it is poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WorkerSlot {
    /// Records a heartbeat.
    pub fn beat(&self) {
        let mut state = lock(&self.0);
        state.since = state.since.map(|_| Instant::now());
    }

    fn begin(&self, give_up: Box<dyn FnOnce() + Send>) {
        let mut state = lock(&self.0);
        (state.since, state.give_up) = (Some(Instant::now()), Some(give_up));
    }

    /// Marks the work as finished; returns whether the thread may continue.
    fn end(&self, n_hung: &AtomicUsize) -> bool {
        let mut state = lock(&self.0);
        (state.since, state.give_up) = (None, None);
        if state.is_given_up {
            n_hung.fetch_sub(1, Ordering::Relaxed);
        }
        !state.is_given_up
    }

    /// Abandons the thread if its last heartbeat is too long ago, and returns the callback that notifies the waiting clients.
    fn overdue(&self, limit: Duration, n_hung: &AtomicUsize) -> Option<Box<dyn FnOnce() + Send>> {
        let mut state = lock(&self.0);
        state.since.filter(|since| since.elapsed() > limit)?;
        state.is_given_up = true;
        n_hung.fetch_add(1, Ordering::Relaxed);
        state.give_up.take()
    }
}

impl WorkerPool {
    /// Starts the threads; they exit when the source has no more work.
    pub fn start(spec: Spec, source: Source, given_up: Counter) -> std::io::Result<Arc<Self>> {
        let pool = Arc::new(Self { spec, source, slots: Mutex::new(Vec::new()), n_hung: AtomicUsize::new(0), given_up });
        (0..spec.n_threads).try_for_each(|_| pool.add_thread())?;
        Ok(pool)
    }

    fn add_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let slot = Arc::new(WorkerSlot::default());
        let (pool, own) = (self.clone(), slot.clone());
        let mut slots = lock(&self.slots);
        Builder::new().name(self.spec.name.to_owned()).spawn(move || pool.work(own))?;
        slots.push(slot);
        Ok(())
    }

    fn work(&self, slot: Arc<WorkerSlot>) {
        let worker = Worker { slot, pool: OnceCell::new() };
        while let Some(Task { run, give_up }) = (self.source)() {
            worker.slot.begin(give_up);
            // If the work panics, its reply channel is dropped, and the waiting client notices that.
            let _ = catch_unwind(AssertUnwindSafe(|| run(&worker)));
            if !worker.slot.end(&self.n_hung) {
                return;
            }
        }
        lock(&worker.slot.0).has_left = true;
    }

    /// Number of abandoned threads that have not returned.
    pub fn n_hung(&self) -> usize {
        self.n_hung.load(Ordering::Relaxed)
    }

    /// Whether so many threads hang that no new ones are started.
    pub fn is_exhausted(&self) -> bool {
        self.n_hung() >= self.spec.max_hung
    }

    /// Abandons threads without a recent heartbeat and starts replacements.
    fn check(self: &Arc<Self>) {
        let mut slots = lock(&self.slots);
        let overdue_threads: Vec<_> = slots.iter().filter_map(|slot| slot.overdue(self.spec.limit, &self.n_hung)).collect();
        slots.retain(|slot| !lock(&slot.0).is_given_up);
        let n_empty = self.spec.n_threads - slots.len();
        drop(slots);
        self.given_up.inc_by(overdue_threads.len() as u64);
        overdue_threads.into_iter().for_each(|give_up| give_up());
        for _ in 0..n_empty.min(self.spec.max_hung.saturating_sub(self.n_hung())) {
            // If the system cannot start a thread now, the next check tries again.
            let _ = self.add_thread();
        }
    }

    fn has_left(&self) -> bool {
        lock(&self.slots).iter().all(|slot| lock(&slot.0).has_left)
    }
}

/// How long to wait at shutdown for threads that are still working, when no client waits for their answers any more.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Supervises the pools until `open` is closed, then waits briefly for threads that are still working, but not for those that
/// hang.
pub(crate) fn watch(pools: &[Arc<WorkerPool>], open: &Receiver<()>) {
    let limit = pools.iter().map(|pool| pool.spec.limit).min().unwrap_or_default();
    // Ten checks per limit detect hangs early enough, and one check every 500 ms costs next to nothing.
    let pause = (limit / 10).clamp(Duration::from_millis(5), Duration::from_millis(500));
    while open.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pools.iter().for_each(WorkerPool::check);
    }
    let end = Instant::now() + SHUTDOWN_WAIT;
    while Instant::now() < end && !pools.iter().all(|pool| pool.has_left()) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Returns a pool, the sender of its work, and the handle that keeps it supervised.
    fn pool(max_hung: usize, limit: Duration) -> (Arc<WorkerPool>, Sender<Task>, Sender<()>) {
        let (work, queue) = channel::<Task>();
        let queue = Mutex::new(queue);
        let spec = Spec { name: "test", n_threads: 1, limit, max_hung };
        let pool = WorkerPool::start(spec, Arc::new(move || lock(&queue).recv().ok()), Counter::default()).unwrap();
        let (open, is_open) = channel();
        let watched = pool.clone();
        std::thread::spawn(move || watch(&[watched], &is_open));
        (pool, work, open)
    }

    /// Work that blocks until it is released, and reports whether it was done or given up.
    fn waiting(release: Receiver<()>, events: Sender<&'static str>) -> Task {
        let give_up = events.clone();
        let run = move |_: &Worker| {
            let _ = release.recv();
            let _ = events.send("done");
        };
        let give_up = move || {
            let _ = give_up.send("given up");
        };
        Task { run: Box::new(run), give_up: Box::new(give_up) }
    }

    #[test]
    fn hung_threads_are_replaced_up_to_the_limit() {
        let (pool, work, _open) = pool(2, Duration::from_millis(30));
        let (events, received) = channel();
        let (hung, release): (Vec<_>, Vec<_>) = (0..2).map(|_| channel::<()>()).unzip();
        release.into_iter().for_each(|release| work.send(waiting(release, events.clone())).unwrap());
        assert_eq!([received.recv().unwrap(), received.recv().unwrap()], ["given up"; 2]);
        assert!(pool.is_exhausted() && pool.given_up.get() == 2);
        // They return and free their slots. On a busy machine the new thread may seem to hang, too; its work is done all the
        // same.
        drop(hung);
        work.send(waiting(channel().1, events)).unwrap();
        assert_eq!(received.iter().filter(|event| *event == "done").count(), 3);
        while pool.n_hung() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn heartbeat_resets_the_time_limit() {
        let (slot, n_hung) = (WorkerSlot::default(), AtomicUsize::new(0));
        let limit = Duration::from_secs(60);
        let is_overdue = || slot.overdue(limit, &n_hung).is_some();
        assert!(!is_overdue(), "an idle thread is never overdue");
        slot.begin(Box::new(|| ()));
        lock(&slot.0).since = Instant::now().checked_sub(2 * limit);
        slot.beat();
        assert!(!is_overdue());
        lock(&slot.0).since = Instant::now().checked_sub(2 * limit);
        assert!(is_overdue());
        assert!(!slot.end(&n_hung) && n_hung.into_inner() == 0);
    }

    #[test]
    fn thread_survives_a_panic_in_its_work() {
        let (pool, work, _open) = pool(1, Duration::from_secs(60));
        work.send(Task { run: Box::new(|_| panic!("a mistake")), give_up: Box::new(|| ()) }).unwrap();
        let (events, received) = channel();
        let run = move |worker: &Worker| events.send(worker.compute(rayon::current_num_threads)).unwrap();
        work.send(Task { run: Box::new(run), give_up: Box::new(|| ()) }).unwrap();
        assert_eq!((received.recv().unwrap(), pool.n_hung()), (rayon::current_num_threads(), 0));
    }
}
