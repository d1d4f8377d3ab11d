//! Writes lines to standard output and standard error, either of which may be a pipe that closes early.

use std::io::Write;

/// Writes a line to standard output.
///
/// # Errors
/// If the pipe is closed or the disk is full.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Writes bytes to standard output unchanged.
///
/// # Errors
/// If the pipe is closed or the disk is full.
pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes a line to standard error. If that fails, for example because it is a file on a full disk, the failure is ignored.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether an error only means that the reader of a pipe has gone.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let of_run = matches!(cause.downcast_ref::<mbm::Error>(), Some(mbm::Error::Io { source, .. }) if is_broken_pipe(source));
        of_run || cause.downcast_ref::<std::io::Error>().is_some_and(is_broken_pipe)
    })
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

/// Formats an error and its causes, leaving out causes that the text already contains.
pub fn message(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |message, cause| {
        let cause = cause.to_string();
        if message.contains(&cause) { message } else { format!("{message}: {cause}") }
    })
}

/// Aligns rows of cells in columns: numeric columns after the first to the right, all others to the left.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let goes_right: Vec<bool> = (0..n_columns).map(|at| at > 0 && is_numeric(rows, at)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(at, cell)| {
                if goes_right[at] { format!("{cell:>w$}", w = widths[at]) } else { format!("{cell:<w$}", w = widths[at]) }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Whether every cell of a column is a number or absent; the first row may be a header.
fn is_numeric(rows: &[Vec<String>], at: usize) -> bool {
    rows.iter().skip(1).filter_map(|row| row.get(at)).all(|cell| cell == "-" || cell.parse::<f64>().is_ok())
}
