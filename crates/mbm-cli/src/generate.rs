//! Commands that generate text: `translate` and `caption`.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::path::Path;

use anyhow::{Context, Result, bail};
use mbm::{Cell, GeneratedText, GenerationSession, Model};

use crate::args::{Caption, Decoding, Translate};
use crate::output::{line, note};

/// Lines translated together when input is not interactive.
const LINES: usize = 256;

/// Translates a text, or standard input line by line.
pub fn translate(args: &Translate) -> Result<()> {
    let session = open(&args.model_path, "text", &args.decoding)?;
    if !args.text.is_empty() {
        let text = args.text.join(" ");
        if args.decoding.stream {
            return stream(&session, text.as_str());
        }
        let written = session.generate([text.as_str()]).swap_remove(0).map_err(anyhow::Error::msg)?;
        written.shortened.iter().for_each(|how| note(&format!("long text: {how}")));
        return print(&written.texts, &args.decoding);
    }
    let n_lines = if stdin().is_terminal() { 1 } else { LINES };
    let mut lines = stdin().lock().lines();
    let mut n_done = 0;
    loop {
        let chunk: Vec<String> =
            lines.by_ref().take(n_lines).collect::<Result<_, _>>().context("standard input is not UTF-8 text")?;
        if chunk.is_empty() {
            return Ok(());
        }
        for (at, written) in session.generate(chunk.iter().map(String::as_str)).into_iter().enumerate() {
            let number = n_done + at + 1;
            let written = written.map_err(|message| anyhow::anyhow!("line {number}: {message}"))?;
            written.shortened.iter().for_each(|how| note(&format!("line {number}: long text: {how}")));
            print(&written.texts, &args.decoding)?;
        }
        n_done += chunk.len();
    }
}

/// Writes a caption for each image.
pub fn caption(args: &Caption) -> Result<()> {
    let session = open(&args.model_path, "image", &args.decoding)?;
    if let ([image], true) = (&args.images[..], args.decoding.stream) {
        return stream(&session, image);
    }
    let mut n_unreadable = 0;
    for chunk in args.images.chunks(LINES) {
        for (path, written) in chunk.iter().zip(session.generate(chunk)) {
            match written {
                Ok(GeneratedText { texts, .. }) if args.images.len() == 1 => print(&texts, &args.decoding)?,
                Ok(GeneratedText { texts, .. }) => {
                    texts.iter().try_for_each(|(text, _)| line(&format!("{}\t{text}", path.display())))?
                }
                Err(message) => {
                    note(&format!("{}: {message}", path.display()));
                    n_unreadable += 1;
                }
            }
        }
    }
    if n_unreadable > 0 {
        bail!("{n_unreadable} of {} images cannot be read", args.images.len());
    }
    Ok(())
}

fn open(path: &Path, input: &str, flags: &Decoding) -> Result<GenerationSession> {
    let model = Model::open(path)?.with_decoding(|decoding| {
        let settings = &mut decoding.settings;
        flags.beam_width.iter().for_each(|it| settings.beam_width = (*it).into());
        flags.length_penalty.iter().for_each(|it| settings.length_penalty = *it);
        flags.n_best.iter().for_each(|it| settings.num_return_sequences = (*it).into());
        settings.do_sample |= flags.sample;
        flags.temperature.iter().for_each(|it| settings.temperature = *it);
        flags.top_k.iter().for_each(|it| settings.top_k = *it);
        flags.top_p.iter().for_each(|it| settings.top_p = *it);
        flags.no_repeat_ngram_size.iter().for_each(|it| settings.no_repeat_ngram_size = *it);
        flags.min_length.iter().for_each(|it| settings.min_length = *it);
        flags.max_length.iter().for_each(|it| decoding.max_length = *it);
        flags.seed.iter().for_each(|it| decoding.seed = *it);
    });
    let session = model.generation_session(input)?;
    Ok(match &flags.prefix {
        Some(prefix) => session.prefix(prefix),
        None => session,
    })
}

/// Prints each text on a line; several texts, or those requested with `--n-best`, each follow their score.
fn print(texts: &[(String, f64)], flags: &Decoding) -> Result<()> {
    match (texts, flags.n_best) {
        ([], _) => line(""),
        ([(text, _)], None) => line(text),
        (texts, _) => texts.iter().try_for_each(|(text, score)| line(&format!("{score:.4}\t{text}"))),
    }
}

/// Prints a text while it is generated. Printed text is never taken back: a token may change how the previous one is written, so
/// the last token is held back until the next one arrives.
fn stream(session: &GenerationSession, cell: impl Into<Cell>) -> Result<()> {
    let mut shown = String::new();
    let mut show = |text: &str| {
        if let Some(more) = text.strip_prefix(shown.as_str()) {
            let _ = write!(stdout(), "{more}").and_then(|()| stdout().flush());
            shown = text.to_owned();
        }
    };
    let written = session.stream(cell, &mut show).map_err(anyhow::Error::msg)?;
    written.texts.iter().take(1).for_each(|(text, _)| show(text));
    line("")?;
    written.shortened.iter().for_each(|how| note(&format!("long text: {how}")));
    Ok(())
}
