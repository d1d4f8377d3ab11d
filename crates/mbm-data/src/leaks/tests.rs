use super::*;
use crate::Cell;

fn table(columns: &[(&str, &dyn Fn(usize) -> String)], n_rows: usize) -> Table {
    let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows = (0..n_rows).map(|row| columns.iter().map(|(_, cell)| Cell::text(&cell(row))).collect()).collect();
    Table::from_rows(names, rows, ".".into()).unwrap()
}

fn found(table: &Table, kind: &str) -> Vec<(String, String)> {
    let rows: Vec<usize> = (0..table.n_rows()).collect();
    leaks(table, &rows, "y", kind).unwrap().into_iter().map(|leak| (leak.column, leak.evidence)).collect()
}

/// A number from 0 to below 1 that looks random.
fn noise(row: usize) -> f64 {
    (row as f64 * 12.9898).sin().abs() * 43_758.545 % 1.0
}

#[test]
fn columns_that_equal_or_rename_or_predict_a_class_are_found() {
    let class = |row: usize| usize::from(noise(row) < 0.3);
    let table = table(
        &[
            ("y", &|row| ["no", "yes"][class(row)].to_owned()),
            ("copy", &|row| ["no", "yes"][class(row)].to_owned()),
            ("code", &|row| class(row).to_string()),
            ("filled", &|row| ["", "2024-01-01"][class(row)].to_owned()),
            ("size", &|row| format!("{:.6}", noise(row))),
            ("refund", &|row| if class(row) == 1 { format!("{:.6}", noise(row + 1)) } else { String::new() }),
            ("nearly", &|row| if row == 7 { "b" } else { ["a", "b"][class(row)] }.to_owned()),
            ("noise", &|row| format!("{:.6}", noise(row + 1))),
            ("mostly", &|row| ["a", "b"][if row % 7 == 0 { 0 } else { class(row) }].to_owned()),
            ("name", &|row| format!("name{row}")),
        ],
        600,
    );
    let leaks = found(&table, "binary");
    let names: Vec<&str> = leaks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["copy", "code", "filled", "size", "refund", "nearly"]);
    assert_eq!(leaks[0].1, "equals the target in all 600 rows that were compared");
    assert!(leaks[1].1.starts_with("is the target under other names: in all 600 rows"), "{}", leaks[1].1);
    assert!(leaks[3].1.starts_with("alone predicts 100.0 % of 296 rows"), "{}", leaks[3].1);
}

#[test]
fn columns_that_equal_or_predict_a_number_are_found() {
    let y = |row: usize| 10.0 * noise(row);
    let table = table(
        &[
            ("y", &|row| format!("{:.4}", y(row))),
            ("copy", &|row| format!("{:.4}", y(row))),
            ("cents", &|row| format!("${:.2}", 100.0 * y(row))),
            ("power", &|row| format!("{:e}", 10f64.powf(3.0 * y(row)))),
            ("class", &|row| format!("c{}", y(row) as usize)),
            ("noise", &|row| format!("{:.4}", noise(row + 1))),
            ("rough", &|row| format!("{:.4}", y(row) + 3.0 * noise(row + 1))),
        ],
        400,
    );
    let leaks = found(&table, "number");
    let names: Vec<&str> = leaks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["copy", "cents", "power"]);
    assert!(leaks[1].1.starts_with("alone explains 100.00 % of the variance of the target in 192 rows"), "{}", leaks[1].1);
}

#[test]
fn few_rows_and_constant_targets_tell_nothing() {
    let copy: [(&str, &dyn Fn(usize) -> String); 2] =
        [("y", &|row| format!("{}", row % 2)), ("x", &|row| format!("{}", row % 2))];
    assert_eq!(found(&table(&copy, 20), "binary"), []);
    assert_eq!(found(&table(&copy, 40), "binary").len(), 1);
    assert_eq!(found(&table(&[("y", &|_| "1".to_owned()), ("x", &|_| "1".to_owned())], 40), "number"), []);
    assert_eq!(found(&table(&[("y", &|_| String::new()), ("x", &|_| String::new())], 40), "category"), []);
}

#[test]
fn long_tables_are_sampled_over_all_rows() {
    let first: [(&str, &dyn Fn(usize) -> String); 2] = [
        ("y", &|row| format!("{}", row / 15_000)),
        ("x", &|row| if row < 20_000 { row / 15_000 } else { 1 - row / 15_000 }.to_string()),
    ];
    assert_eq!(found(&table(&first, 30_000), "category"), []);
}
