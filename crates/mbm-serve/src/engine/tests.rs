//! Work that hangs, panics or is cancelled affects its own rows only.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mbm::Unreadable;
use tokio::runtime::{Builder, Runtime};

use super::fixture::{self, fixture};
use super::*;
use crate::budget::Budget;
use crate::stages::{Read, Run, Write};

/// Long enough for a working thread to finish, and short enough for a test to wait. The tests must also pass on a busy machine,
/// where a working thread may be abandoned now and then.
const LIMIT: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);

const LIMITS: EngineLimits = EngineLimits {
    max_size: 2,
    max_delay: Duration::ZERO,
    queue_size: 1024,
    max_streams: 1,
    read_limit: NEVER,
    model_limit: NEVER,
};

/// Blocks threads until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Gate {
    fn wait(&self) {
        let (is_open, opened) = &*self.0;
        drop(opened.wait_while(lock(is_open), |is_open| !*is_open).unwrap());
    }

    fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }
}

/// An engine, the model it serves, and a runtime to call it from.
struct Tested {
    engine: Arc<Engine>,
    thread: JoinHandle<()>,
    served: Arc<LoadedModel>,
    metrics: Arc<Metrics>,
    runtime: Runtime,
}

fn done(job: &Job) -> Answer {
    Ok(JobResult::Predicted { values: Vec::new(), status: job.row.status().clone(), contributions: Vec::new() })
}

/// Stages that do nothing, except for the one that is changed.
fn stages(change: impl FnOnce(&mut Stages)) -> Stages {
    let mut stages = Stages { run: Arc::new(|jobs, _| jobs.iter().map(done).collect()), ..Stages::default() };
    stages.write = Arc::new(|job, _| done(job));
    change(&mut stages);
    stages
}

fn with_read(read: impl Fn(&[Cell], &mut dyn FnMut(usize) -> bool) + Send + Sync + 'static) -> Stages {
    let read: Arc<Read> = Arc::new(move |model, cells, begin| {
        read(cells, begin);
        model.prepare(cells)
    });
    stages(|stages| stages.read = read)
}

fn with_run(run: impl Fn(&Job, &mbm::ShouldContinue) + Send + Sync + 'static) -> Stages {
    let run: Arc<Run> = Arc::new(move |jobs, should_continue| {
        jobs.iter().for_each(|job| run(job, should_continue));
        jobs.iter().map(done).collect()
    });
    stages(|stages| stages.run = run)
}

fn with_write(write: impl Fn(&mut TextListener) + Send + Sync + 'static) -> Stages {
    let write: Arc<Write> = Arc::new(move |job, listener| {
        write(listener);
        done(job)
    });
    stages(|stages| stages.write = write)
}

fn size(size: f64) -> Vec<Cell> {
    vec![Cell::Empty, Cell::Empty, Cell::Number(size)]
}

fn caption(text: &str) -> Vec<Cell> {
    vec![Cell::Empty, Cell::text(text), Cell::Empty]
}

fn silent() -> Box<TextListener<'static>> {
    Box::new(|_, _| ControlFlow::Continue(()))
}

const PREDICT: Task = Task::Predict(Unreadable::Missing);

impl Tested {
    fn new(limits: EngineLimits, stages: Stages) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (engine, thread) = Engine::start(limits, metrics.clone(), stages).unwrap();
        let served = Arc::new(LoadedModel::open(Some(&fixture().model()), None).unwrap());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { engine: Arc::new(engine), thread, served, metrics, runtime }
    }

    /// Sends rows from another thread.
    fn ask(&self, rows: Vec<Vec<Cell>>) -> tokio::task::JoinHandle<Result<Vec<Answer>, ApiError>> {
        let (engine, served) = (self.engine.clone(), self.served.clone());
        self.runtime.spawn(async move { engine.run(&served, PREDICT, rows).await })
    }

    /// Returns the answer to one row.
    fn answer(&self, cells: Vec<Cell>) -> Answer {
        self.runtime.block_on(self.ask(vec![cells])).unwrap()?.swap_remove(0)
    }

    fn stream(
        &self,
        listener: Box<TextListener<'static>>,
    ) -> tokio::task::JoinHandle<Result<oneshot::Receiver<Answer>, ApiError>> {
        let (engine, served) = (self.engine.clone(), self.served.clone());
        self.runtime.spawn(async move { engine.stream(&served, PREDICT, size(1.0).into(), listener).await })
    }

    /// Returns the answer to a streamed row.
    fn written(&self, listener: Box<TextListener<'static>>) -> Answer {
        let answer = self.runtime.block_on(self.stream(listener)).unwrap()?;
        self.runtime.block_on(answer).unwrap()
    }

    /// Waits until rows are answered, the engine is ready and no thread hangs.
    fn recovers(&self) {
        while self.answer(size(1.0)).is_err()
            || self.engine.check_works().is_err()
            || self.engine.n_hung().map(|it| it.1) != [0; 3]
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        drop(self.runtime);
        drop(self.engine);
        self.thread.join().unwrap();
    }
}

#[test]
fn model_panic_fails_only_its_batch() {
    let tested = Tested::new(LIMITS, with_run(|job, _| assert!(job.row.is_empty(), "a row that the model cannot take")));
    assert!(tested.answer(vec![Cell::Empty; 3]).is_ok());
    assert_eq!(tested.answer(size(13.0)).unwrap_err().message, FAILED);
    assert!(tested.answer(vec![Cell::Empty; 3]).is_ok());
    assert_eq!((tested.metrics.panics.get(), tested.engine.n_waiting()), (1, 0));
    tested.end();
}

#[test]
fn reader_panic_fails_only_its_row() {
    let tested = Tested::new(LIMITS, with_read(|cells, _| assert!(cells[1] != Cell::text("13"), "a cell that cannot be read")));
    let api_error = tested.answer(caption("13")).unwrap_err();
    assert_eq!((api_error.kind, api_error.message.starts_with("reading a cell failed")), (ApiErrorKind::Failed, true));
    assert!(tested.answer(caption("12")).is_ok());
    assert_eq!((tested.metrics.panics.get(), tested.engine.n_waiting()), (1, 0));
    tested.end();
}

#[test]
fn hung_model_is_reported_and_replaced() {
    let (batch, probe) = (Gate::default(), Gate::default());
    let (of_batch, of_probe, is_first) = (batch.clone(), probe.clone(), AtomicBool::new(true));
    let hang = move |job: &Job, _: &mbm::ShouldContinue| match job.row.is_empty() {
        true => of_probe.wait(),
        false if is_first.swap(false, Ordering::Relaxed) => of_batch.wait(),
        false => {}
    };
    let tested = Tested::new(EngineLimits { model_limit: LIMIT, ..LIMITS }, with_run(hang));
    let api_error = tested.answer(size(13.0)).unwrap_err();
    assert_eq!(api_error, unavailable("the model did not respond within 0.1 s and is being restarted"));
    // The server is not ready until the new thread has shown that it works; waiting rows are answered after that.
    assert_eq!(tested.engine.check_works().unwrap_err().kind, ApiErrorKind::Unavailable);
    probe.open();
    while tested.engine.check_works().is_err() {
        std::thread::yield_now();
    }
    while tested.answer(size(1.0)).is_err() {}
    let text = tested.metrics.text(0, tested.engine.n_hung(), 0);
    assert!(!text.contains("mbm_given_up_threads_total{work=\"model\"} 0"), "{text}");
    batch.open();
    tested.recovers();
    tested.end();
}

#[test]
fn repeatedly_hung_model_is_not_restarted_until_one_returns() {
    let gate = Gate::default();
    let of_model = gate.clone();
    let tested = Tested::new(EngineLimits { model_limit: LIMIT, ..LIMITS }, with_run(move |_, _| of_model.wait()));
    assert_eq!(tested.answer(size(1.0)).unwrap_err().kind, ApiErrorKind::Unavailable);
    while tested.engine.n_hung()[1].1 < MAX_HUNG_MODELS {
        std::thread::sleep(Duration::from_millis(5));
    }
    let message = "the model hangs on 3 batches and is no longer restarted; restart the server";
    assert_eq!(tested.engine.check_works(), Err(unavailable(message)));
    // Later requests are refused immediately.
    assert_eq!(tested.answer(size(1.0)).unwrap_err(), unavailable(message));
    gate.open();
    tested.recovers();
    tested.end();
}

#[test]
fn hung_reader_fails_only_its_row_until_too_many_hang() {
    let gate = Gate::default();
    let of_reader = gate.clone();
    let hang = move |cells: &[Cell], begin: &mut dyn FnMut(usize) -> bool| {
        if cells[1] == Cell::text("hang") && begin(1) {
            of_reader.wait();
        }
    };
    let tested = Tested::new(EngineLimits { read_limit: LIMIT, ..LIMITS }, with_read(hang));
    assert_eq!(tested.answer(caption("hang")).unwrap_err(), unavailable("caption: reading took longer than 0.1 s"));
    while tested.answer(caption("fine")).is_err() {}
    assert_eq!(tested.engine.check_works(), Ok(()));
    let n_left = MAX_HUNG_READERS * std::thread::available_parallelism().map_or(2, usize::from) - 1;
    let answers = tested.runtime.block_on(tested.ask(vec![caption("hang"); n_left])).unwrap().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().kind == ApiErrorKind::Unavailable));
    let api_error = tested.engine.check_works().unwrap_err();
    assert!(api_error.message.contains("rows hang while being read"), "{api_error}");
    // Refused immediately; a row with only numbers does not need a reader.
    assert_eq!(tested.answer(caption("fine")).unwrap_err(), api_error);
    assert!(tested.answer(size(1.0)).is_ok());
    gate.open();
    tested.recovers();
    while tested.answer(caption("fine")).is_err() {}
    tested.end();
}

#[test]
fn rows_of_cancelled_requests_are_not_read() {
    let (gate, seen) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let (of_reader, noted) = (gate.clone(), seen.clone());
    let read = move |cells: &[Cell], _: &mut dyn FnMut(usize) -> bool| {
        lock(&noted).push(cells[1].to_text());
        of_reader.wait();
    };
    let tested = Tested::new(LIMITS, with_read(read));
    let n_readers = std::thread::available_parallelism().map_or(2, usize::from);
    let first = tested.ask(vec![caption("first"); n_readers]);
    while lock(&seen).len() < n_readers {
        std::thread::yield_now();
    }
    let unwanted = tested.ask(vec![caption("unwanted")]);
    while tested.engine.n_waiting() <= n_readers {
        std::thread::yield_now();
    }
    unwanted.abort();
    while tested.engine.n_waiting() > n_readers {
        std::thread::yield_now();
    }
    gate.open();
    tested.runtime.block_on(first).unwrap().unwrap();
    assert!(tested.answer(caption("last")).is_ok());
    assert!(lock(&seen).contains(&"last".to_owned()) && !lock(&seen).contains(&"unwanted".to_owned()));
    tested.end();
}

#[test]
fn model_is_notified_when_a_batch_is_no_longer_wanted() {
    let begun = Arc::new(AtomicBool::new(false));
    let of_model = begun.clone();
    let work_while_wanted = move |job: &Job, should_continue: &mbm::ShouldContinue| {
        while !job.row.is_empty() && should_continue() {
            of_model.store(true, Ordering::Relaxed);
            std::thread::yield_now();
        }
    };
    let tested = Tested::new(LIMITS, with_run(work_while_wanted));
    let unwanted = tested.ask(vec![size(1.0)]);
    while !begun.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    unwanted.abort();
    assert!(tested.answer(vec![Cell::Empty; 3]).is_ok());
    tested.end();
}

#[test]
fn text_generation_does_not_block_batches() {
    let gate = Gate::default();
    let of_writer = gate.clone();
    let tested = Tested::new(LIMITS, with_write(move |_| of_writer.wait()));
    let text = tested.runtime.block_on(tested.stream(silent())).unwrap().unwrap();
    assert!(tested.answer(size(1.0)).is_ok());
    gate.open();
    assert!(tested.runtime.block_on(text).unwrap().is_ok());
    tested.end();
}

#[test]
fn streams_over_the_limit_wait_for_their_turn() {
    let (gate, n_begun) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (of_writer, count) = (gate.clone(), n_begun.clone());
    let tested = Tested::new(
        LIMITS,
        with_write(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            of_writer.wait();
        }),
    );
    let first = tested.runtime.block_on(tested.stream(silent())).unwrap().unwrap();
    let second = tested.stream(silent());
    while tested.engine.n_waiting() < 2 {
        std::thread::yield_now();
    }
    assert!(n_begun.load(Ordering::Relaxed) <= 1 && !second.is_finished());
    gate.open();
    assert!(tested.runtime.block_on(first).unwrap().is_ok());
    let second = tested.runtime.block_on(second).unwrap().unwrap();
    assert!(tested.runtime.block_on(second).unwrap().is_ok());
    assert_eq!((n_begun.load(Ordering::Relaxed), tested.engine.n_waiting()), (2, 0));
    tested.end();
}

#[test]
fn disconnect_stops_text_generation() {
    let (ended, is_ended) = channel();
    let write = move |listener: &mut TextListener| {
        while listener(0, Some("more")).is_continue() {
            std::thread::yield_now();
        }
        ended.send(()).unwrap();
    };
    let tested = Tested::new(LIMITS, with_write(write));
    let text = tested.runtime.block_on(tested.stream(silent())).unwrap().unwrap();
    drop(text);
    is_ended.recv().unwrap();
    // So does a listener that returns `Break`.
    let text = tested.runtime.block_on(tested.stream(Box::new(|_, _| ControlFlow::Break(())))).unwrap().unwrap();
    is_ended.recv().unwrap();
    assert!(tested.runtime.block_on(text).unwrap().is_ok());
    tested.end();
}

#[test]
fn hung_writer_is_answered_and_replaced() {
    let (gate, is_first) = (Gate::default(), AtomicBool::new(true));
    let of_writer = gate.clone();
    let hang_once = move |_: &mut TextListener| {
        if is_first.swap(false, Ordering::Relaxed) {
            of_writer.wait();
        }
    };
    let limits = EngineLimits { model_limit: LIMIT, max_streams: 2, ..LIMITS };
    let tested = Tested::new(limits, with_write(hang_once));
    assert_eq!(tested.written(silent()).unwrap_err().kind, ApiErrorKind::Unavailable);
    while tested.written(silent()).is_err() {}
    gate.open();
    tested.recovers();
    tested.end();
}

#[test]
fn skipped_row_has_null_values_and_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    fixture::write_rows(folder.path());
    let drop_row = "input_features.size.preprocessing.missing_value_strategy=drop_row".to_owned();
    let run = fixture::train_with(folder.path(), &[drop_row, "trainer.epochs=1".to_owned()]);
    let served = Arc::new(LoadedModel::open(Some(&run), None).unwrap());
    let row = served.model.prepare(&[Cell::Empty, Cell::Empty, Cell::text("many")]);
    let job = Job::new(&served, PREDICT, row).unwrap();
    let Ok(JobResult::Predicted { values, status, .. }) = (Stages::default().run)(&[job], &|| true).swap_remove(0) else {
        panic!()
    };
    assert_eq!((values.len(), status.to_string().as_str()), (5, "skipped: photo (empty), caption (empty), size (malformed)"));
    assert!(values.iter().all(|value| *value == mbm::OutputValue::Null));
}

#[test]
fn memory_stays_reserved_until_a_cancelled_row_leaves_the_model() {
    let (gate, begun) = (Gate::default(), Gate::default());
    let (opened, began) = (gate.clone(), begun.clone());
    let hold = move |job: &Job, _: &mbm::ShouldContinue| {
        if !job.row.is_empty() {
            began.open();
            opened.wait();
        }
    };
    let tested = Tested::new(LIMITS, with_run(hold));
    let budget = Arc::new(Budget::new(1 << 30, 1 << 20));
    let held = MemoryShare::of(&budget);
    held.take(1 << 20).unwrap();
    let n_bytes = budget.taken();
    let (engine, served) = (tested.engine.clone(), tested.served.clone());
    let answer = async move {
        let _ = engine.run(&served, PREDICT, vec![size(1.0)]).await;
        axum::response::Response::default()
    };
    let request = tested.runtime.spawn(held.during(answer));
    begun.wait();
    request.abort();
    assert!(tested.runtime.block_on(request).unwrap_err().is_cancelled());
    assert!(n_bytes > 0 && budget.taken() == n_bytes);
    gate.open();
    tested.recovers();
    while budget.taken() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    tested.end();
}
