use proptest::prelude::*;

use super::*;

#[test]
fn numbers_are_read_with_a_decimal_point() {
    let cases = [
        ("1200.5", 1200.5),
        (" 1e3 ", 1000.0),
        ("1,200.50", 1200.5),
        ("1,234,567", 1_234_567.0),
        ("100,000", 100_000.0),
        ("12,000.5", 12_000.5),
        ("12,34,567.8", 1_234_567.8),
        ("1 200", 1200.0),
        ("1\u{202f}200\u{a0}€", 1200.0),
        ("1'200.5", 1200.5),
        ("$1,200.50", 1200.5),
        ("US$ 5", 5.0),
        ("USD 5", 5.0),
        ("5 kr", 5.0),
        ("€ 12", 12.0),
        ("12€", 12.0),
        ("-$5", -5.0),
        ("$-5", -5.0),
        ("−5", -5.0),
        ("+$5", 5.0),
        ("($1,200)", -1200.0),
        ("$250,000", 250_000.0),
        ("$(5)", -5.0),
        ("12 %", 12.0),
        ("-3.5%", -3.5),
        (".5", 0.5),
        ("5.", 5.0),
    ];
    for (text, want) in cases {
        assert_eq!(parse_number(text, Decimal::Point), Some(want), "{text}");
    }
}

#[test]
fn numbers_are_read_with_a_decimal_comma() {
    let cases = [
        ("1200,5", 1200.5),
        ("1.200,50", 1200.5),
        ("1.200", 1200.0),
        ("1.234.567,8", 1_234_567.8),
        ("1 200,5", 1200.5),
        ("1'200,5", 1200.5),
        ("0,567", 0.567),
        ("1,5e3", 1500.0),
        ("-3,5 %", -3.5),
        ("12,50 €", 12.5),
        ("12", 12.0),
    ];
    for (text, want) in cases {
        assert_eq!(parse_number(text, Decimal::Comma), Some(want), "{text}");
    }
}

#[test]
fn units_and_other_texts_are_not_numbers() {
    let texts = [
        "5 kg",
        "12a",
        "USD5",
        "1,2",
        "1,2345",
        "12,34",
        "1,234.5.6",
        "0,567",
        "1,234e5",
        "--5",
        "(-5)",
        "$5%",
        "5%%",
        "()",
        "$",
        "-",
        ".",
        ",",
        "%",
        "",
        "1/2",
        "10:30",
        "1 23",
        "1,23 4",
        "1  200",
        "- 5",
        "€€5",
        "((5))",
        "1-2",
        "A5",
    ];
    for text in texts {
        assert_eq!(parse_number(text, Decimal::Point), None, "{text}");
    }
    for text in ["1.5", "1,234.5", "1,2,3", "0.567", "nan", "1.23,4"] {
        assert_eq!(parse_number(text, Decimal::Comma), None, "{text}");
    }
}

#[test]
fn cells_that_one_notation_reads_decide_for_their_column() {
    let decimal = |cells: &[&str]| {
        let mut votes = DecimalVotes::default();
        cells.iter().for_each(|text| votes.add(parse_number(text, Decimal::Point), parse_number(text, Decimal::Comma)));
        votes.decimal()
    };
    assert_eq!(decimal(&["1,5", "1.234", "12"]), Decimal::Comma);
    assert_eq!(decimal(&["1.5", "1.234", "12"]), Decimal::Point);
    assert_eq!(decimal(&["1,234", "12"]), Decimal::Point);
    assert_eq!(decimal(&["1,234,567", "1.25", "0,5"]), Decimal::Point);
    assert_eq!(decimal(&[]), Decimal::Point);
}

/// Writes a number of thousandths with thousands separators and a decimal separator.
fn written(thousandths: i64, group: &str, separator: char) -> String {
    let whole = (thousandths.abs() / 1000).to_string();
    let groups: Vec<&str> = whole.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    format!("{}{separator}{:03}", groups.join(group), thousandths.abs() % 1000)
}

proptest! {
    #[test]
    fn formatted_number_reads_back_in_every_notation(
        thousandths in -1_000_000_000_000i64..1_000_000_000_000,
        group in prop_oneof![Just(""), Just(" "), Just("\u{a0}"), Just("\u{2009}"), Just("\u{202f}"), Just("'"), Just("’"), Just("other")],
        affixes in prop_oneof![
            Just(("", "")), Just(("$", "")), Just(("€ ", "")), Just(("USD ", "")), Just(("", " EUR")), Just(("", "%")), Just(("", " %"))
        ],
        in_parentheses in any::<bool>(),
    ) {
        for (decimal, separator, other) in [(Decimal::Point, '.', ","), (Decimal::Comma, ',', ".")] {
            let number = written(thousandths, if group == "other" { other } else { group }, separator);
            let amount = format!("{}{number}{}", affixes.0, affixes.1);
            let text = match (thousandths < 0, in_parentheses) {
                (true, true) => format!("({amount})"),
                (true, false) => format!("-{amount}"),
                (false, _) => amount,
            };
            let want: f64 = format!("{}{}.{:03}", if thousandths < 0 { "-" } else { "" }, thousandths.abs() / 1000, thousandths.abs() % 1000).parse().unwrap();
            prop_assert_eq!(parse_number(&text, decimal), Some(want), "{}", text);
        }
    }

    #[test]
    fn number_as_programs_write_it_reads_as_itself(value in any::<f64>()) {
        let read = parse_number(&value.to_string(), Decimal::Point);
        prop_assert!(read == Some(value) || (value.is_nan() && read.is_some_and(f64::is_nan)));
    }

    #[test]
    fn any_text_is_a_number_or_not(text in "[-+0-9., '()%$€eE\u{a0}A-Z]{0,12}|\\PC{0,12}") {
        let _ = (parse_number(&text, Decimal::Point), parse_number(&text, Decimal::Comma));
    }
}
