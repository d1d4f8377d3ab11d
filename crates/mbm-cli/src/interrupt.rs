//! Signals: the first Ctrl-C asks training to stop after the current step, a later one ends the process. A file that reaches its
//! size limit makes the write fail instead of ending the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::output::note;

/// The signal that requested a stop; 0 if none has.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// Signals that follow the first one sooner are the same request: `timeout` and process managers signal both the process and its group.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// The error of a command that a signal stopped, with a message for the user.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// The exit status of a command that was stopped: 128 plus the signal number, as in shells; 130 for Ctrl-C.
pub fn exit_status() -> u8 {
    128u8.saturating_add(STOPPED_BY.load(Ordering::Relaxed).try_into().unwrap_or(SIGINT as u8))
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with an error that names the file; without a handler the signal
/// ends the process.
pub fn outlive_file_limits() -> anyhow::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Returns a flag that is set by Ctrl-C and by the signals that politely end a process.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    STOPPED_BY.store(signal, Ordering::Relaxed);
                    flag.store(true, Ordering::Relaxed);
                    note("\nstopping after this step and writing a checkpoint; press Ctrl-C again to quit immediately");
                }
                Some(first) if first.elapsed() < SAME_REQUEST => {}
                Some(_) => std::process::exit(exit_status().into()),
            }
        }
    });
    Ok(stop)
}
