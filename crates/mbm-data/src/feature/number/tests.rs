use super::*;

fn fitted(normalization: Normalization, values: &[&str]) -> FittedNumber {
    let mut fitter = NumberPreprocessing { normalization, ..mbm_config::defaults() }.fitter();
    values.iter().for_each(|value| fitter.observe(&Cell::text(value), Path::new("")));
    let Preprocessor::Number(fitted) = fitter.finish().unwrap() else { panic!("expected a number") };
    fitted
}

#[test]
fn restore_inverts_every_normalization() {
    let all = [Normalization::Zscore, Normalization::Minmax, Normalization::Log1p, Normalization::Robust, Normalization::None];
    for normalization in all {
        let fitted = fitted(normalization, &["1", "x", "", "5", "900"]);
        for value in [-3.0, 0.0, 5.0, 1234.5] {
            assert!((fitted.restore(fitted.normalize(value)) - value).abs() < 1e-2, "{normalization:?} {value}");
        }
    }
    assert_eq!(fitted(Normalization::Zscore, &["1", "3"]).normalize(3.0), 1.0);
}

#[test]
fn constant_column_does_not_divide_by_zero() {
    assert_eq!(fitted(Normalization::Zscore, &["7", "7"]).normalize(8.0), 1.0);
    assert_eq!(fitted(Normalization::Minmax, &["7", "7"]).normalize(8.0), 1.0);
}

#[test]
fn robust_normalization_ignores_a_few_huge_values() {
    let mut values: Vec<String> = (0..295).map(|value| value.to_string()).collect();
    let usual = fitted(Normalization::Robust, &values.iter().map(String::as_str).collect::<Vec<_>>());
    values.extend(["1e100", "-1e100", "1e100", "-1e100", "1e100"].map(str::to_owned));
    let robust = fitted(Normalization::Robust, &values.iter().map(String::as_str).collect::<Vec<_>>());
    robust.check().unwrap();
    for value in [0.0, 100.0, 294.0] {
        assert!((robust.normalize(value) - usual.normalize(value)).abs() < 0.05, "{value}");
    }
    assert_eq!((robust.normalize(1e100), robust.normalize(-1e100)), (3.0, -3.0));
    assert!(robust.restore(f32::INFINITY).is_finite() && robust.restore(3.0) > 100_000.0);
}

#[test]
fn extreme_columns_yield_only_finite_values() {
    let columns: [&[&str]; 7] = [
        &["1", "2", "3", "1e100"],
        &["1", "2", "3", "1e139", "-1e139"],
        &["1e300", "5"],
        &["5e-324", "1e-310", "2e-310"],
        &["1e-12", "2e-12", "9e-12"],
        &["7", "7", "7", "1e100"],
        &["3"],
    ];
    for normalization in
        [Normalization::Zscore, Normalization::Minmax, Normalization::Log1p, Normalization::Robust, Normalization::None]
    {
        for column in columns {
            let fitted = fitted(normalization, column);
            fitted.check().unwrap();
            for text in column {
                match fitted.payload(&Cell::text(text), Path::new("")) {
                    Ok(Payload::Vector(values)) => assert!(values[0].abs() <= LARGEST, "{normalization:?} {text}"),
                    Ok(other) => panic!("{other:?}"),
                    Err(fault) => assert_eq!(fault.cause, Cause::TooLarge, "{normalization:?} {text}"),
                }
            }
        }
    }
    let small = fitted(Normalization::Zscore, &["1e-12", "3e-12"]);
    assert_eq!((small.normalize(1e-12), small.normalize(3e-12)), (-1.0, 1.0));
    let none = fitted(Normalization::None, &["1"]);
    let fault = none.payload(&Cell::text("1e100"), Path::new("")).unwrap_err();
    assert!(fault.to_string().contains("normalization: robust"), "{fault}");
}

#[test]
fn non_numeric_cells_are_malformed() {
    let fitted = fitted(Normalization::None, &["1"]);
    let fault = fitted.payload(&Cell::text("12a"), Path::new("")).unwrap_err();
    assert_eq!(fault.to_string(), "malformed: '12a' is not a number");
    assert!(fitted.payload(&Cell::text("inf"), Path::new("")).is_err());
    assert_eq!(fitted.payload(&Cell::Numbers(vec![3.0]), Path::new("")), Ok(Payload::Vector(vec![3.0])));
    assert!(fitted.payload(&Cell::Numbers(vec![1.0, 200.0]), Path::new("")).is_err());
    assert!(fitted.payload(&Cell::Words(vec!["1".into(), "200".into()]), Path::new("")).is_err());
}
#[test]
fn notation_of_the_training_cells_is_that_of_prediction() {
    let value = |fitted: &FittedNumber, text: &str| fitted.payload(&Cell::text(text), Path::new(""));
    let german = fitted(Normalization::None, &["1.200,50", "300", "1.000", "NA", "12 €"]);
    assert_eq!(german.decimal, Decimal::Comma);
    assert_eq!(value(&german, "2.000"), Ok(Payload::Vector(vec![2000.0])));
    assert_eq!(german.quantiles.first(), Some(&12.0));
    let english = fitted(Normalization::None, &["1,200.50", "300", "1,000"]);
    assert_eq!(value(&english, "2.000"), Ok(Payload::Vector(vec![2.0])));
    assert_eq!(value(&english, "2,000"), Ok(Payload::Vector(vec![2000.0])));
    let mut fitter = NumberPreprocessing { decimal: Some(Decimal::Comma), ..mbm_config::defaults() }.fitter();
    ["1.200", "300"].iter().for_each(|text| fitter.observe(&Cell::text(text), Path::new("")));
    let Ok(Preprocessor::Number(fitted)) = fitter.finish() else { panic!("expected a number") };
    assert_eq!((fitted.decimal, fitted.offset), (Decimal::Comma, 750.0));
}

#[test]
fn listed_words_are_empty_cells() {
    let fitted = fitted(Normalization::None, &["1", "?", "NA"]);
    let fault = fitted.payload(&Cell::text("?"), Path::new("")).unwrap_err();
    assert_eq!(fault.to_string(), "empty: '?' is one of null_values");
    let mut fitter = NumberPreprocessing { null_values: Some(vec!["-999".into()]), ..mbm_config::defaults() }.fitter();
    [Cell::Number(-999.0), Cell::text("-999"), Cell::text("1")].iter().for_each(|cell| fitter.observe(cell, Path::new("")));
    let Ok(Preprocessor::Number(fitted)) = fitter.finish() else { panic!("expected a number") };
    assert_eq!(fitted.offset, 1.0);
    assert_eq!(fitted.payload(&Cell::text("?"), Path::new("")).unwrap_err().cause, Cause::Malformed);
}

#[test]
fn number_of_an_earlier_version_reads_with_a_point() {
    let text = r#"{"log": false, "offset": 0.0, "scale": 1.0, "quantiles": [1.0]}"#;
    let fitted: FittedNumber = serde_json::from_str(text).unwrap();
    assert_eq!((fitted.decimal, fitted.null_values), (Decimal::Point, NullValues::default()));
}
