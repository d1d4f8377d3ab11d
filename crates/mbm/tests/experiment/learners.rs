//! Learners other than the network, on inputs of all types.

use mbm::{ConfigFormat, Experiment, Model, Plan, table_from_json};

use crate::{dataset, run};

const IMAGES: &str = "
input_features: [{name: photo, type: image, preprocessing: {height: 16, width: 16}}]
output_features: [{name: kind, type: category}]
trainer: {epochs: 1}
learners: [{type: linear}, {type: random_forest}]
ensemble: {k_fold: 3}
";

#[test]
fn images_are_read_by_all_learners() {
    let (folder, dataset) = dataset();
    let plan = Plan::read(IMAGES, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let results = folder.path().join("run");
    let outcome = run(&Experiment::new(plan, dataset.clone(), &results));
    assert!(outcome.leaderboard.len() >= 2);
    for line in &outcome.leaderboard {
        // Three photos are missing.
        assert!(line.held_out["accuracy"] > 0.9, "{}: {}", line.learner, line.held_out["accuracy"]);
    }
    let model = Model::open(&results).unwrap();
    let test_rows = outcome.test_statistics["kind"]["accuracy"];
    assert!(test_rows > 0.9 && model.evaluate(&dataset).unwrap().metrics["kind"]["accuracy"] > 0.9);
    let without_photo = folder.path().join("out.jsonl");
    model.predict_to(table_from_json("{\"photo\": null}").unwrap(), &without_photo).unwrap();
    let predicted = std::fs::read_to_string(&without_photo).unwrap();
    assert!(predicted.contains("kind_predictions"), "{predicted}");
}
