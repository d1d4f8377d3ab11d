//! Tables with many columns.

use std::sync::atomic::AtomicBool;

use mbm::{ConfigFormat, Experiment, Plan};

#[test]
fn report_ablates_hundreds_of_columns_by_type() {
    const N_NUMBERS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let dataset = folder.path().join("rows.csv");
    let names: Vec<String> = (0..N_NUMBERS).map(|at| format!("x{at}")).collect();
    let row = |row: usize| {
        let cells: Vec<String> = (0..N_NUMBERS).map(|at| ((row * 7 + at * 3) % 11).to_string()).collect();
        format!("{},{},{}\n", cells.join(","), ["red", "blue"][row % 2], row % 2)
    };
    std::fs::write(&dataset, format!("{},colour,y\n{}", names.join(","), (0..40).map(row).collect::<String>())).unwrap();
    let numbers: String = names.iter().map(|name| format!("  - {{name: {name}, type: number}}\n")).collect();
    let config = format!(
        "input_features:\n{numbers}  - {{name: colour, type: category}}\noutput_features:\n  - {{name: y, type: number}}\n\
         trainer: {{epochs: 2}}\n"
    );
    let plan = Plan::read(&config, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let results = folder.path().join("run");
    let experiment = Experiment::new(plan, dataset, results.clone());
    let outcome = experiment.run(&AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(outcome.test_statistics["y"]["mean_squared_error"].is_finite());
    let report = std::fs::read_to_string(results.join("report.html")).unwrap();
    assert!(report.contains("<th>1 category inputs</th><th>200 number inputs</th>"), "the parts");
    assert!(report.contains("and 177 more inputs") && !report.contains("x24:"), "a card shows the first inputs");
}
