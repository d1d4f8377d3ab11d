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

const MIXED: &str = "
input_features:
  - {name: photo, type: image, preprocessing: {height: 16, width: 16}}
  - {name: notes, type: text, encoder: {type: embed, embedding_size: 8}}
  - {name: size, type: number}
output_features: [{name: price, type: number}]
trainer: {epochs: 1}
learners:
  - {type: boosted_trees, without_media: true}
  - {type: random_forest, without_media: true}
  - {type: extra_trees, without_media: true}
  - {type: linear, without_media: true}
  - {type: svm, without_media: true}
ensemble: {k_fold: 3}
";

#[test]
fn learners_without_media_read_the_other_columns_alone() {
    let (folder, dataset) = dataset();
    let plan = Plan::read(MIXED, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let results = folder.path().join("run");
    let outcome = run(&Experiment::new(plan, dataset.clone(), &results));
    let names: Vec<&str> = outcome.leaderboard.iter().map(|line| line.learner.as_str()).collect();
    for name in ["boosted_trees", "random_forest", "extra_trees", "linear", "svm"] {
        assert!(names.contains(&format!("{name}_without_media").as_str()), "{names:?}");
    }
    for line in &outcome.leaderboard {
        assert!(line.held_out["r2"] > 0.3, "{}: {}", line.learner, line.held_out["r2"]);
    }
    let model = Model::open(&results).unwrap();
    let price = |row: &str| {
        let out = folder.path().join("out.jsonl");
        model.predict_to(table_from_json(row).unwrap(), &out).unwrap();
        let predicted: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        predicted["price_predictions"].as_f64().unwrap()
    };
    let photo = folder.path().join("0.png");
    let with_media = price(&format!("{{\"photo\": {photo:?}, \"notes\": \"the alpha row\", \"size\": 3}}"));
    assert_eq!(with_media, price("{\"size\": 3}"));
    assert!((with_media - price("{\"size\": 7}")).abs() > 1.0);
}
