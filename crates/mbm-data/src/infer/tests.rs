use super::*;
use crate::Cell;

/// Infers the role of a column that is not the first.
fn inferred<S: AsRef<str>>(name: &str, texts: &[S], purpose: Purpose) -> InferredColumn {
    let mut seen = Seen::default();
    texts.iter().enumerate().for_each(|(row_idx, text)| seen.add(row_idx, &crate::CellRef::text(text.as_ref())));
    role::infer(&seen, name, purpose)
}

fn input<S: AsRef<str>>(name: &str, texts: &[S]) -> Inferred {
    inferred(name, texts, Purpose::Input).role
}

fn target<S: AsRef<str>>(name: &str, texts: &[S]) -> Inferred {
    inferred(name, texts, Purpose::Target).role
}

fn note<S: AsRef<str>>(name: &str, texts: &[S]) -> String {
    inferred(name, texts, Purpose::Input).notes.join("\n")
}

fn reason(role: Inferred) -> String {
    let Inferred::Ignored(reason) = role else { panic!("{role:?} is not ignored") };
    reason
}

fn cells(n: usize, cell: impl Fn(usize) -> String) -> Vec<String> {
    (0..n).map(cell).collect()
}

#[test]
fn types_are_inferred_from_cells() {
    let cases: [(&str, &[&str], &str); 24] = [
        ("photo", &["a/x.png", "b.JPG", ""], "image"),
        ("sound", &["x.wav", "y.wav"], "audio"),
        ("price", &["1", "2.5", "1e3"], "number"),
        ("price", &["$1,200.50", "$3", "NA"], "number"),
        ("price", &["1.200,50", "3,5", "-"], "number"),
        ("share", &["12 %", "3.5%"], "number"),
        ("digit", &["7", "0", "3", "7", "0", "3"], "number"),
        ("ok", &["yes", "no", "yes"], "binary"),
        ("ok", &["Y", "n", "N/A", "y"], "binary"),
        ("flag", &["0", "1", "?"], "binary"),
        ("day", &["2024-01-01", "2024-01-02"], "date"),
        ("day", &["Jun 12 1998", "May 3 2001"], "date"),
        ("day", &["20240101", "20240203", "20240102"], "date"),
        ("created_at", &["1735603200", "1704067200"], "date"),
        ("created", &["1735603200000", "1704067200000"], "date"),
        ("curve", &["1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 9"], "timeseries"),
        ("curve", &["1 2 3", "1 2"], "timeseries"),
        ("place", &["40.7, -74.0", "51.5, -0.1"], "vector"),
        ("colour rgb", &["255 128 100", "100 200 150"], "vector"),
        ("colour", &["red", "blue", "red"], "category"),
        ("zip", &["01234", "10001", "01234", "02139"], "category"),
        ("store_id", &["3", "12", "3", "12"], "category"),
        ("tags", &["['a', 'b']", "['b']"], "set"),
        ("strand", &["+", "-", "+"], "category"),
    ];
    for (name, texts, want) in cases {
        assert_eq!(input(name, texts), Inferred::Feature(want), "{name} {texts:?}");
    }
    assert_eq!(input("split", &["train", "test"]), Inferred::Split);
    assert_eq!(reason(input("nothing", &["", ""])), "it is empty");
    assert_eq!(reason(input("nothing", &["NA", ""])), "it is empty, apart from 'NA', which stands for a missing value");
    assert_eq!(reason(input("same", &["a", "a"])), "it has only one value");
}

#[test]
fn texts_have_words_that_repeat_and_categories_values_that_do() {
    let first = ["Ann", "Bob", "Eve", "Tom", "Kim"];
    assert_eq!(input("notes", &cells(50, |i| format!("a note about row {i}"))), Inferred::Feature("text"));
    assert_eq!(
        input("name", &cells(100, |i| format!("{} Smith{}", first[i % 5], (b'a' + (i / 5) as u8) as char))),
        Inferred::Feature("text")
    );
    assert_eq!(input("director", &cells(200, |i| format!("{} B{}", first[i % 5], i % 45))), Inferred::Feature("category"));
    assert_eq!(input("review", &cells(50, |i| format!("很好吃的餐厅很好吃的餐厅{i}"))), Inferred::Feature("text"));
    for ids in [cells(50, |i| format!("id{i}")), cells(50, |i| format!("A{i} 17{i}")), cells(90, |i| format!("(5{i}) 123-45{i}"))]
    {
        assert!(reason(input("ticket", &ids)).contains("cells have a value of their own, such as"), "{ids:?}");
    }
    assert_eq!(input("few", &["a", "b", "c"]), Inferred::Feature("category"));
}

#[test]
fn sets_are_recognized_by_labels_that_repeat() {
    let genres =
        ["Action & Adventure, Comedy", "Comedy", "Comedy, Stand Up", "Action & Adventure", "Stand Up, Action & Adventure"];
    let genres = cells(60, |i| genres[i % 5].to_owned());
    assert_eq!(input("genres", &genres), Inferred::Feature("set"));
    assert_eq!(
        note("genres", &genres),
        "'genres' is read as sets of labels, as its cells hold labels that repeat, with a comma between them"
    );
    let reviews = cells(60, |i| format!("Nice room {i}, great staff on day {i}, will come again"));
    assert_eq!(input("review", &reviews), Inferred::Feature("text"));
}

#[test]
fn row_numbers_and_identifiers_are_left_out() {
    let row = |i: usize| i.to_string();
    assert_eq!(reason(input("Unnamed: 0", &cells(50, row))), "it numbers the rows, from 0 in steps of one");
    assert!(reason(input("whatever", &cells(50, |i| row(i + 1)))).contains("from 1 in steps"));
    assert!(reason(input("id", &cells(50, |i| row(i + 1001)))).contains("from 1001 in steps"));
    assert!(reason(input("PassengerId", &cells(50, |i| row(i * 37 % 50)))).starts_with("its name says that it identifies rows"));
    assert!(reason(input("account", &cells(60, |i| row(4_000_000 + i * 37 % 60)))).contains("all have 7 digits"));
    // Quantities and times may count up, too, and amounts differ.
    for name in ["size", "year", "week"] {
        assert_eq!(input(name, &cells(50, row)), Inferred::Feature("number"), "{name}");
    }
    assert_eq!(input("population", &cells(60, |i| row(i * i * 1000))), Inferred::Feature("number"));
    assert_eq!(target("whatever", &cells(50, row)), Inferred::Feature("number"));
}

#[test]
fn codes_are_categories_if_they_repeat() {
    assert_eq!(input("zip", &cells(60, |i| (10_000 + i % 7).to_string())), Inferred::Feature("category"));
    let note = note("zip", &cells(60, |i| (10_000 + i % 7).to_string()));
    assert_eq!(
        note,
        "'zip' holds codes, as its name shows, and is treated as a category; set type: number to treat it as a quantity"
    );
    assert!(reason(input("zip", &cells(60, |i| (10_000 + 7 * (i % 58)).to_string()))).contains("have a code of their own"));
    assert_eq!(input("part", &cells(60, |i| format!("{:04}", i % 7))), Inferred::Feature("category"));
    assert_eq!(target("zip", &cells(60, |i| (10_000 + i % 25).to_string())), Inferred::Feature("category"));
}

#[test]
fn mostly_unreadable_columns_are_not_numbers() {
    assert_eq!(
        input("size", &cells(200, |i| if i % 100 == 0 { "3".to_owned() } else { format!("w{}", i % 9) })),
        Inferred::Feature("category")
    );
    assert_eq!(
        input("size", &cells(200, |i| if i % 50 == 0 { "x".to_owned() } else { i.to_string() })),
        Inferred::Feature("number")
    );
}

#[test]
fn targets_are_categories_numbers_or_refused() {
    assert_eq!(target("digit", &["7", "0", "3", "7", "0", "3"]), Inferred::Feature("category"));
    assert_eq!(target("class", &cells(2000, |i| format!("class {}", i % 500))), Inferred::Feature("category"));
    assert_eq!(target("damage", &["None", "Minor", "None"]), Inferred::Feature("category"));
    let reason = reason(target("name", &cells(900, |i| format!("n{i}"))));
    assert_eq!(
        reason,
        "900 of 900 cells have a value of their own, such as 'n0', without words that repeat; the classes of a target repeat"
    );
}

#[test]
fn notes_show_how_cells_are_read() {
    assert_eq!(note("price", &["1.200,50 €", "3"]), "'price' is read as numbers with a decimal comma: '1.200,50 €' is 1200.5");
    assert_eq!(note("day", &["01/02/2024", "31/12/2023"]), "'day' is read as dates with the day first, such as '01/02/2024'");
    assert!(note("day", &["01/02/2024", "03/04/2024"]).contains("with the month first, such as '01/02/2024', as no cell tells"));
    assert!(note("curve", &["1 2 3", "1 2"]).contains("different lengths"));
    assert_eq!(note("size", &["1", "2.5"]), "");
}

#[test]
fn value_that_is_missing_in_other_rows_is_a_category() {
    let marks = cells(40, |i| if i % 2 == 0 { "x".to_owned() } else { String::new() });
    assert_eq!(input("mark", &marks), Inferred::Feature("category"));
    assert_eq!(note("mark", &marks), "'mark' has only one value, and 20 of 40 cells are empty; it is treated as a category");
    assert_eq!(reason(target("mark", &marks)), "it has only one value");
}

#[test]
fn long_cells_are_inferred_from_their_beginning() {
    let series = ["1.5 ", "-2.25,", "3;"].map(|word| word.repeat(1 << 18));
    assert_eq!(input("series", &series), Inferred::Feature("timeseries"));
    assert_eq!(input("texts", &cells(30, |i| format!("{i} words ").repeat(1 << 12))), Inferred::Feature("text"));
}

fn table(columns: &[(&str, &dyn Fn(usize) -> String)], n_rows: usize) -> Table {
    let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let rows = (0..n_rows).map(|row| columns.iter().map(|(_, cell)| Cell::text(&cell(row))).collect()).collect();
    Table::from_rows(names, rows, ".".into()).unwrap()
}

#[test]
fn sorted_table_shows_all_its_classes() {
    let sorted =
        table(&[("kind", &|row| ["a", "b", "c"][row / 20_000].to_owned()), ("size", &|row| (row % 97).to_string())], 60_000);
    let inferred = infer_types(&sorted, &["kind".to_owned()]).unwrap();
    assert_eq!(inferred[0], InferredColumn { role: Inferred::Feature("category"), notes: Vec::new() });
    assert_eq!(infer_types(&sorted, &["kind".to_owned()]).unwrap(), inferred);
}

#[test]
fn equal_columns_are_left_out_but_for_the_target() {
    let size = |row: usize| (row * 31 % 97).to_string();
    let last = |row: usize| if row == 11_999 { "1000".to_owned() } else { size(row) };
    let float = |row: usize| format!("{}.0", size(row));
    let table = table(&[("y", &size), ("a", &size), ("b", &float), ("c", &last)], 12_000);
    let inferred = infer_types(&table, &["y".to_owned()]).unwrap();
    assert_eq!(inferred[1].role, Inferred::Feature("number"));
    assert_eq!(inferred[2].role, Inferred::Ignored("it equals the column 'a' in every row".to_owned()));
    assert_eq!(inferred[3].role, Inferred::Feature("number"));
}

#[test]
fn classes_of_a_target_that_are_rare_or_missing_are_noted() {
    let kind = |row: usize| match row {
        3 => "rare".to_owned(),
        4..8 => "NA".to_owned(),
        _ => ["None", "Minor"][row % 2].to_owned(),
    };
    let table = table(&[("kind", &kind)], 100);
    let notes = infer_types(&table, &["kind".to_owned()]).unwrap().remove(0).notes;
    assert_eq!(
        notes,
        [
            "'kind' is missing in 4 rows, which hold 'NA'; set preprocessing.null_values: [] if these are classes",
            "'kind' has a class with a single row ('rare'), which cannot be both learned and tested"
        ]
    );
    assert_eq!(infer_types(&table, &[]).unwrap().remove(0).notes, Vec::<String>::new());
}

proptest::proptest! {
    #[test]
    fn any_cells_have_a_type_and_are_read_as_every_type(
        texts in proptest::collection::vec("\\PC{0,12}|[-0-9., $%()]{0,8}|[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2,4}|[a-c|;,'\\[\\] ]{0,9}|NA|None|-|yes|no", 0..40)
    ) {
        let rows = texts.iter().enumerate().map(|(at, text)| vec![Cell::text(text), Cell::text(&texts[texts.len() - 1 - at])]).collect();
        let table = Table::from_rows(vec!["a".into(), "created_at".into()], rows, ".".into()).unwrap();
        proptest::prop_assert_eq!(infer_types(&table, &["a".to_owned()]).unwrap().len(), 2);
        let rows: Vec<usize> = (0..texts.len()).collect();
        for kind in ["number", "category", "set"] {
            crate::leaks(&table, &rows, "a", kind).unwrap();
        }
        let fitters = [
            mbm_config::defaults::<crate::feature::NumberPreprocessing>().fitter(),
            mbm_config::defaults::<crate::feature::DatePreprocessing>().fitter(),
            mbm_config::defaults::<crate::feature::SetPreprocessing>().fitter(),
            mbm_config::defaults::<crate::feature::CategoryPreprocessing>().fitter(),
            mbm_config::defaults::<crate::feature::BinaryPreprocessing>().fitter(),
        ];
        for mut fitter in fitters {
            texts.iter().for_each(|text| fitter.observe(&Cell::text(text), ".".as_ref()));
            let Ok(fitted) = fitter.finish() else { continue };
            fitted.get().check().unwrap();
            let reloaded: crate::Preprocessor = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
            for text in &texts {
                let read = |fitted: &crate::Preprocessor| fitted.get().payload(&Cell::text(text), ".".as_ref());
                proptest::prop_assert_eq!(read(&fitted), read(&reloaded));
            }
        }
    }
}
