//! Threads that are watched: one that does not come back is left to itself, and another takes its place.
//!
//! No thread can be ended from outside, whatever holds it: a decoder that loops, a lock, a disk. What can be done is to answer whoever waits
//! for it, to count it, and to go on with a new one. How many may hang at a time is bounded, since each keeps its memory and perhaps a core;
//! one that comes back after all makes room again.

use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Work for one thread.
pub(crate) struct Task {
    /// Does it.
    pub run: Box<dyn FnOnce(&Worker) + Send>,
    /// Tells whoever waits for it that its thread has not come back.
    pub give_up: Box<dyn FnOnce() + Send>,
}

/// Where work comes from: waits for it; nothing once there will be no more.
pub(crate) type Source = Arc<dyn Fn() -> Option<Task> + Send + Sync>;

/// How many threads there are, and how long one may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub n_threads: usize,
    /// From one sign of life to the next.
    pub limit: Duration,
    /// Threads that may hang at a time; with more no new ones are started.
    pub max_hung: usize,
}

/// Threads that take work from one source.
pub(crate) struct Crew {
    spec: Spec,
    source: Source,
    seats: Mutex<Vec<Arc<Seat>>>,
    /// Threads that were given up and have not come back.
    n_hung: AtomicUsize,
    /// All that were ever given up.
    given_up: Counter,
}

/// A thread's place, through which it is watched.
#[derive(Default)]
pub(crate) struct Seat(Mutex<Sign>);

#[derive(Default)]
struct Sign {
    /// The last sign of life of a thread at work.
    since: Option<Instant>,
    give_up: Option<Box<dyn FnOnce() + Send>>,
    is_given_up: bool,
    has_left: bool,
}

/// A thread as its work sees it.
pub(crate) struct Worker {
    /// Where signs of life are given.
    pub seat: Arc<Seat>,
    pool: OnceCell<Option<ThreadPool>>,
}

impl Worker {
    /// Computes on threads of this worker's own: what hangs there holds up no other worker, nor does one worker's thread take up the work
    /// of another while it waits for its own.
    pub fn compute<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let pool = self.pool.get_or_init(|| ThreadPoolBuilder::new().build().ok());
        match pool {
            Some(pool) => pool.install(run),
            // Without threads of its own it shares those of the process.
            None => run(),
        }
    }
}

/// What a mutex holds, also where a thread panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    /// A sign of life.
    pub fn beat(&self) {
        let mut sign = lock(&self.0);
        sign.since = sign.since.map(|_| Instant::now());
    }

    fn begin(&self, give_up: Box<dyn FnOnce() + Send>) {
        let mut sign = lock(&self.0);
        (sign.since, sign.give_up) = (Some(Instant::now()), Some(give_up));
    }

    /// Whether the thread may go on.
    fn end(&self, n_hung: &AtomicUsize) -> bool {
        let mut sign = lock(&self.0);
        (sign.since, sign.give_up) = (None, None);
        if sign.is_given_up {
            n_hung.fetch_sub(1, Ordering::Relaxed);
        }
        !sign.is_given_up
    }

    /// What tells those who wait, if the thread has been silent for too long and is now given up.
    fn overdue(&self, limit: Duration, n_hung: &AtomicUsize) -> Option<Box<dyn FnOnce() + Send>> {
        let mut sign = lock(&self.0);
        sign.since.filter(|since| since.elapsed() > limit)?;
        sign.is_given_up = true;
        n_hung.fetch_add(1, Ordering::Relaxed);
        sign.give_up.take()
    }
}

impl Crew {
    /// Starts the threads, which end when the source has no more work.
    pub fn start(spec: Spec, source: Source, given_up: Counter) -> std::io::Result<Arc<Self>> {
        let crew = Arc::new(Self { spec, source, seats: Mutex::new(Vec::new()), n_hung: AtomicUsize::new(0), given_up });
        (0..spec.n_threads).try_for_each(|_| crew.add_thread())?;
        Ok(crew)
    }

    fn add_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let seat = Arc::new(Seat::default());
        let (crew, own) = (self.clone(), seat.clone());
        let mut seats = lock(&self.seats);
        Builder::new().name(self.spec.name.to_owned()).spawn(move || crew.work(own))?;
        seats.push(seat);
        Ok(())
    }

    fn work(&self, seat: Arc<Seat>) {
        let worker = Worker { seat, pool: OnceCell::new() };
        while let Some(Task { run, give_up }) = (self.source)() {
            worker.seat.begin(give_up);
            // Whoever waits for work that panics finds its reply gone.
            let _ = catch_unwind(AssertUnwindSafe(|| run(&worker)));
            if !worker.seat.end(&self.n_hung) {
                return;
            }
        }
        lock(&worker.seat.0).has_left = true;
    }

    /// Threads that hang.
    pub fn n_hung(&self) -> usize {
        self.n_hung.load(Ordering::Relaxed)
    }

    /// Whether so many threads hang that no new ones are started.
    pub fn is_exhausted(&self) -> bool {
        self.n_hung() >= self.spec.max_hung
    }

    /// Gives up threads that have been silent for too long, and fills empty places.
    fn look(self: &Arc<Self>) {
        let mut seats = lock(&self.seats);
        let told: Vec<_> = seats.iter().filter_map(|seat| seat.overdue(self.spec.limit, &self.n_hung)).collect();
        seats.retain(|seat| !lock(&seat.0).is_given_up);
        let n_empty = self.spec.n_threads - seats.len();
        drop(seats);
        self.given_up.inc_by(told.len() as u64);
        told.into_iter().for_each(|give_up| give_up());
        for _ in 0..n_empty.min(self.spec.max_hung.saturating_sub(self.n_hung())) {
            // A system that has no thread to give now is asked again at the next look.
            let _ = self.add_thread();
        }
    }

    fn has_left(&self) -> bool {
        lock(&self.seats).iter().all(|seat| lock(&seat.0).has_left)
    }
}

/// How long threads at work are waited for at the end, when nobody waits for their answers any more.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Watches until `open` is closed; then waits for threads that are still at work, but not for those that hang.
pub(crate) fn watch(crews: &[Arc<Crew>], open: &Receiver<()>) {
    let limit = crews.iter().map(|crew| crew.spec.limit).min().unwrap_or_default();
    // A tenth of the limit is early enough, and twice a second seldom enough to cost nothing.
    let pause = (limit / 10).clamp(Duration::from_millis(5), Duration::from_millis(500));
    while open.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        crews.iter().for_each(Crew::look);
    }
    let end = Instant::now() + LAST_WAIT;
    while Instant::now() < end && !crews.iter().all(|crew| crew.has_left()) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A crew, where its work is sent to, and what keeps its watch open.
    fn crew(max_hung: usize, limit: Duration) -> (Arc<Crew>, Sender<Task>, Sender<()>) {
        let (work, queue) = channel::<Task>();
        let queue = Mutex::new(queue);
        let spec = Spec { name: "test", n_threads: 1, limit, max_hung };
        let crew = Crew::start(spec, Arc::new(move || lock(&queue).recv().ok()), Counter::default()).unwrap();
        let (open, is_open) = channel();
        let watched = crew.clone();
        std::thread::spawn(move || watch(&[watched], &is_open));
        (crew, work, open)
    }

    /// Work that waits until it is let go, and says whether it was done or given up.
    fn waiting(let_go: Receiver<()>, said: Sender<&'static str>) -> Task {
        let give_up = said.clone();
        let run = move |_: &Worker| {
            let _ = let_go.recv();
            let _ = said.send("done");
        };
        let give_up = move || {
            let _ = give_up.send("given up");
        };
        Task { run: Box::new(run), give_up: Box::new(give_up) }
    }

    #[test]
    fn a_thread_that_hangs_is_given_up_and_replaced_until_too_many_do() {
        let (crew, work, _open) = crew(2, Duration::from_millis(30));
        let (said, heard) = channel();
        let (hung, let_go): (Vec<_>, Vec<_>) = (0..2).map(|_| channel::<()>()).unzip();
        let_go.into_iter().for_each(|let_go| work.send(waiting(let_go, said.clone())).unwrap());
        assert_eq!([heard.recv().unwrap(), heard.recv().unwrap()], ["given up"; 2]);
        assert!(crew.is_exhausted() && crew.given_up.get() == 2);
        // They come back, and room is made for a new thread. On a busy machine it may seem to hang, too, and is done all the same.
        drop(hung);
        work.send(waiting(channel().1, said)).unwrap();
        assert_eq!(heard.iter().filter(|said| *said == "done").count(), 3);
        while crew.n_hung() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_sign_of_life_starts_the_time_anew() {
        let (seat, n_hung) = (Seat::default(), AtomicUsize::new(0));
        let limit = Duration::from_secs(60);
        let is_overdue = || seat.overdue(limit, &n_hung).is_some();
        assert!(!is_overdue(), "a thread without work waits as long as it likes");
        seat.begin(Box::new(|| ()));
        lock(&seat.0).since = Instant::now().checked_sub(2 * limit);
        seat.beat();
        assert!(!is_overdue());
        lock(&seat.0).since = Instant::now().checked_sub(2 * limit);
        assert!(is_overdue());
        assert!(!seat.end(&n_hung) && n_hung.into_inner() == 0);
    }

    #[test]
    fn a_panic_costs_its_own_work_and_not_the_thread() {
        let (crew, work, _open) = crew(1, Duration::from_secs(60));
        work.send(Task { run: Box::new(|_| panic!("a mistake")), give_up: Box::new(|| ()) }).unwrap();
        let (said, heard) = channel();
        let run = move |worker: &Worker| said.send(worker.compute(rayon::current_num_threads)).unwrap();
        work.send(Task { run: Box::new(run), give_up: Box::new(|| ()) }).unwrap();
        assert_eq!((heard.recv().unwrap(), crew.n_hung()), (rayon::current_num_threads(), 0));
    }
}
