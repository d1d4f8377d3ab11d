use std::collections::BTreeMap;

use mbm_config::{Diagnostics, Format, Node, Setting};
use proptest::prelude::*;

use super::*;
use crate::{Goal, Hyperopt};

fn settings(text: &str) -> Hyperopt {
    let (node, mut diagnostics) = (Node::parse(text, Format::Yaml).unwrap(), Diagnostics::default());
    let read = Hyperopt::read(&node, "", &mut diagnostics);
    diagnostics.unless_any(read).unwrap()
}

fn header(text: &str, seed: u64) -> Header {
    let inputs = BTreeMap::from([("dataset".to_owned(), "a1".to_owned())]);
    Header::new(&settings(text), Goal::Minimize, seed, inputs)
}

const ONE: &str = "parameters: {a: {space: uniform, lower: 0, upper: 1}}";

fn lines(header: &Header, events: &[Event]) -> Vec<u8> {
    let mut text = line_of(header).unwrap();
    events.iter().for_each(|event| text.extend(line_of(event).unwrap()));
    text
}

fn some_events() -> impl Strategy<Value = Vec<Event>> {
    let score = || prop::option::of(-1e9f64..1e9);
    let started = (0..9usize, 0.0..1.0f64).prop_map(|(trial, value)| {
        let parameters = Suggestion(BTreeMap::from([("a".to_owned(), value.into()), ("ä\n".to_owned(), "x\ny".into())]));
        Event::Started { trial, parameters }
    });
    let reported =
        (0..9usize, 0..99usize, score()).prop_map(|(trial, resource, score)| Event::Reported { trial, resource, score });
    let ended = (0..9usize, score(), prop::option::of("\\PC{0,9}")).prop_map(|(trial, score, error)| Event::Ended {
        trial,
        state: State::Completed,
        score,
        error,
    });
    prop::collection::vec(prop_oneof![started, reported, ended], 0..12)
}

proptest! {
    #[test]
    fn journal_cut_at_any_byte_has_the_events_of_its_complete_lines(events in some_events(), cut in 0.0..1.0f64) {
        let header = header(ONE, 1);
        let text = lines(&header, &events);
        let cut = &text[..(cut * text.len() as f64) as usize];
        let (read, n_bytes) = read(Path::new("j"), cut, &header).unwrap();
        prop_assert_eq!(&events[..read.len()], &read[..]);
        prop_assert_eq!(read.len() + 1, cut.iter().filter(|byte| **byte == b'\n').count().max(1));
        prop_assert!(n_bytes == 0 || text[n_bytes - 1] == b'\n');
        prop_assert_eq!(super::read(Path::new("j"), &text, &header).unwrap(), (events, text.len()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), is_after_header in any::<bool>()) {
        let header = header(ONE, 1);
        let text = if is_after_header { [line_of(&header).unwrap(), bytes].concat() } else { bytes };
        let _ = read(Path::new("j"), &text, &header);
    }
}

fn refusal(ours: &Header, journal: &Header) -> String {
    read(Path::new("j"), &lines(journal, &[]), ours).unwrap_err().to_string()
}

#[test]
fn journal_of_another_study_is_refused_with_what_differs() {
    let two = "parameters: {a: {space: int, lower: 0, upper: 1}, b: {space: choice, categories: [x]}}\nmetric: accuracy";
    let expected = "j: the journal of another study: its seed is 2, not 1; \
        its parameters.a is {\"lower\":0,\"space\":\"int\",\"upper\":1}, not {\"lower\":0.0,\"space\":\"uniform\",\"upper\":1.0}; \
        it has parameters.b; its metric is accuracy, not loss; use another folder, or go back to these settings";
    assert_eq!(refusal(&header(ONE, 1), &header(two, 2)), expected);
    let other = Header::new(&settings(ONE), Goal::Maximize, 1, BTreeMap::from([("dataset".to_owned(), "b2".to_owned())]));
    let expected = "the journal of another study: its goal is maximize, not minimize; its dataset differs; use";
    assert!(refusal(&header(ONE, 1), &other).contains(expected));
}

#[test]
fn more_samples_continue_the_same_study() {
    let more = header(&format!("{ONE}\nexecutor: {{num_samples: 99}}"), 1);
    assert!(more.differences(&header(ONE, 1)).is_empty());
}

#[test]
fn damage_is_reported_with_its_line() {
    let header = header(ONE, 1);
    let event = Event::Reported { trial: 0, resource: 1, score: None };
    let mut text = lines(&header, &[event]);
    text.extend(b"{\"event\":\"unheard\"}\n{");
    let message = read(Path::new("j"), &text, &header).unwrap_err().to_string();
    assert!(message.starts_with("j, line 3: not an event: unknown variant `unheard`"), "{message}");
    for text in [&b"column,other\n1,2\n"[..], b"column", b"{}\n", b"[[[["] {
        let message = read(Path::new("j"), text, &header).unwrap_err().to_string();
        assert_eq!(message, "j, line 1: not a journal of 'mbm tune'");
    }
    let newer = b"{\"event\":\"study\",\"version\":2}\n";
    let message = read(Path::new("j"), newer, &header).unwrap_err().to_string();
    assert_eq!(message, "j, line 1: version 2 of the journal; this version of mbm reads 1");
}

#[test]
fn incomplete_line_is_removed_before_the_next_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (path, header) = (folder.path().join("journal.jsonl"), header(ONE, 1));
    let event = |resource| Event::Reported { trial: 0, resource, score: Some(0.5) };
    let mut text = lines(&header, &[event(1), event(2)]);
    text.truncate(text.len() - 1);
    std::fs::write(&path, text).unwrap();
    let (mut journal, events) = Journal::open(&path, &header).unwrap();
    assert_eq!(events, [event(1)]);
    journal.record(&event(3)).unwrap();
    drop(journal);
    assert_eq!(std::fs::read(&path).unwrap(), lines(&header, &[event(1), event(3)]));
}

#[test]
fn second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, header) = (folder.path().join("journal.jsonl"), header(ONE, 1));
    let _first = Journal::open(&path, &header).unwrap();
    assert!(matches!(Journal::open(&path, &header), Err(TuneError::Busy { .. })));
}

#[test]
fn other_file_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    std::fs::write(&path, "a,b\n1,2").unwrap();
    assert!(Journal::open(&path, &header(ONE, 1)).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a,b\n1,2");
}
