//! Signals: the first Ctrl-C asks training to stop after the step in hand, the second ends the process; a file that may grow no further is
//! an error of the write and not the end of the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::output::note;

/// The signal that asked for a stop; 0 where none has.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// A command that a signal stopped, with what there is to know.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// The exit status of a command that was stopped: 128 and the signal's number, as shells have it; 130 for Ctrl-C.
pub fn exit_status() -> u8 {
    128u8.saturating_add(STOPPED_BY.load(Ordering::Relaxed).try_into().unwrap_or(SIGINT as u8))
}

/// Lets a write beyond the limit of file sizes (`ulimit -f`) fail with its place: without a handler the signal ends the process.
pub fn outlive_file_limits() -> anyhow::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// The flag that Ctrl-C sets, and what ends a process politely.
pub fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            STOPPED_BY.store(signal, Ordering::Relaxed);
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(exit_status().into());
            }
            note("\nstopping after this step and writing a checkpoint; Ctrl-C again to end at once");
        }
    });
    Ok(stop)
}
