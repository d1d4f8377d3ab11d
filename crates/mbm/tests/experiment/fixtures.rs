//! Bundles and an index that an earlier version wrote are read, and give the same results; its checkpoints are refused.

use std::path::{Path, PathBuf};

use mbm::{Experiment, Model, Plan, Retriever, Search, Start};
use serde_json::Value;

/// The files of bundle form 2 and what the version that wrote them (`make.py`) predicted from them.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/form-2").join(name)
}

fn json_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asserts that numbers agree within 1e-4, since processors with other vector units sum in another order, and that all else is equal.
fn assert_close(found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{found:?} {expected:?}");
            found.values().zip(expected.values()).for_each(|(found, expected)| assert_close(found, expected));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{found} {expected}");
        }
        _ => assert_eq!(found, expected),
    }
}

#[test]
fn bundles_of_form_2_predict_what_their_version_predicted() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mixed", "space", "writer"] {
        let path = folder.path().join("found.jsonl");
        Model::open(fixture(name)).unwrap().predict_to(fixture("rows.csv"), &path).unwrap();
        let (found, expected) = (json_lines(&path), json_lines(&fixture(&format!("{name}.jsonl"))));
        assert_eq!((found.len(), expected.len()), (40, 40), "{name}");
        found.iter().zip(&expected).for_each(|(found, expected)| assert_close(found, expected));
    }
}

#[test]
fn index_of_form_2_finds_what_its_version_found() {
    let retriever = Retriever::open(fixture("index"), Some(&fixture("space"))).unwrap();
    let hits = retriever.search([("text", "red dog")], Search::nearest(5).width(None)).unwrap();
    let expected = json_lines(&fixture("found.jsonl"));
    // The index holds a row for each of the four images.
    assert_eq!((hits.len(), expected.len()), (4, 4));
    for (hit, expected) in hits.iter().zip(&expected) {
        assert!((f64::from(hit.similarity) - expected["similarity"].as_f64().unwrap()).abs() < 1e-4, "{hit:?} {expected}");
    }
}

#[test]
fn checkpoint_of_an_earlier_version_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    copy(&fixture("stopped"), &run);
    let plan = Plan::read_file(run.join("config.yaml"), &[]).unwrap();
    let error = Experiment::new(plan, fixture("rows.csv"), &run).start(Start::Resume).train().unwrap_err();
    assert!(error.to_string().contains("the run was started with another version of mbm; finish it"), "{error}");
    for name in ["progress.json", "model.safetensors", "optimizer.bpk"] {
        let bytes = |folder: &Path| std::fs::read(folder.join("checkpoints/last").join(name)).unwrap();
        assert_eq!(bytes(&run), bytes(&fixture("stopped")), "{name}");
    }
    assert!(Model::open(&run).unwrap().predict([("number", 1.0)]).is_ok(), "the model so far predicts");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
