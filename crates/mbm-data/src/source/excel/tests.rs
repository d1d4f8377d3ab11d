use std::time::Instant;

use proptest::prelude::*;

use super::super::testing::{SheetCell, workbook, workbook_of, workbook_of_parts, zip};
use crate::source::{RaggedRows, TableOptions};
use crate::{Cell, DataError, Table};

fn read_with(bytes: &[u8], options: &TableOptions) -> Result<Table, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.xlsx");
    std::fs::write(&path, bytes).unwrap();
    Table::read_with(&path, options)
}

fn read(bytes: &[u8]) -> Result<Table, DataError> {
    read_with(bytes, &TableOptions::default())
}

fn text(text: &str) -> Option<SheetCell> {
    Some(SheetCell::Text(text.to_owned()))
}

fn number(value: f64) -> Option<SheetCell> {
    Some(SheetCell::Number(value))
}

#[test]
fn first_row_names_the_columns_and_cells_have_their_types() {
    let xml = |xml: &str| Some(SheetCell::Xml(xml.to_owned()));
    let rows = [
        vec![],
        vec![text("name"), number(2020.0), text("day"), text("yes"), text("name")],
        vec![text("ä & <b>"), number(1.5), Some(SheetCell::Date(45657.0)), xml("t=\"b\"><v>1</v>"), None],
        vec![None, None, None, None, xml("s=\"1\">")],
        vec![text("  "), xml("t=\"e\"><v>#N/A</v>"), Some(SheetCell::Date(45657.25)), xml("t=\"b\"><v>0</v>"), text("x")],
    ];
    let table = read(&workbook(&rows)).unwrap();
    assert_eq!(table.columns, ["name", "2020", "day", "yes", "name_2"]);
    assert_eq!(table.n_rows(), 2);
    let text = |text: &str| Cell::Text(text.to_owned());
    let first = [text("ä & <b>"), Cell::Number(1.5), text("2024-12-31"), Cell::Bool(true), Cell::Empty];
    let second = [Cell::Empty, Cell::Empty, text("2024-12-31 06:00:00"), Cell::Bool(false), text("x")];
    assert_eq!((table.row(0).unwrap(), table.row(1).unwrap()), (first.to_vec(), second.to_vec()));
    let notes = ["columns with the name of an earlier one were renamed: name_2", "1 cells with errors such as #DIV/0! are empty"];
    assert_eq!(table.notes, notes);
}

#[test]
fn workbooks_of_other_programs_are_read() {
    for (name, bytes) in [
        ("openpyxl", &include_bytes!("../../../tests/golden/openpyxl.xlsx")[..]),
        ("xlsxwriter", include_bytes!("../../../tests/golden/xlsxwriter.xlsx")),
    ] {
        let table = read(bytes).unwrap();
        assert_eq!(table.columns, ["", "city", "price", "sold", "when", "ok", "note"], "{name}");
        let text = |text: &str| Cell::Text(text.to_owned());
        let first = [
            Cell::Number(0.0),
            text("Zürich"),
            Cell::Number(1200.5),
            text("2024-01-31"),
            text("2024-01-31 13:45:30"),
            Cell::Bool(true),
            text("a\nb & <c> _x000D_ \"d\""),
        ];
        assert_eq!(table.row(0).unwrap(), first, "{name}");
        let empty = [Cell::Number(1.0), Cell::Empty, Cell::Empty, Cell::Empty, Cell::Empty, Cell::Bool(false), text("東京")];
        assert_eq!(table.row(1).unwrap(), empty, "{name}");
        assert_eq!(table.notes, ["the sheet 'Data' is read; --sheet selects another one of Data, Other"], "{name}");
    }
}

#[test]
fn a_sheet_is_selected_by_name() {
    let rows = |name: &str| [vec![text(name)], vec![number(1.0)]];
    let (first, second) = (rows("a"), rows("b"));
    let bytes = workbook_of(&[("One", &first), ("Two & more", &second)]);
    let of = |name: &str| read_with(&bytes, &TableOptions { sheet: Some(name.to_owned()), ..TableOptions::default() });
    assert_eq!(of("Two & more").unwrap().columns, ["b"]);
    let error = of("Three").unwrap_err().to_string();
    assert!(error.ends_with("the workbook has no sheet 'Three'; its sheets: One, Two & more"), "{error}");
}

#[test]
fn rows_beyond_the_header_are_an_error_or_truncated() {
    let bytes = workbook(&[vec![text("a")], vec![number(1.0), number(2.0)], vec![None, text(" ")]]);
    let error = read(&bytes).unwrap_err().to_string();
    assert!(error.contains("t.xlsx, row 1: 2 fields, but the header has 1; --ragged pad"), "{error}");
    let table = read_with(&bytes, &TableOptions { ragged: RaggedRows::Pad, ..TableOptions::default() }).unwrap();
    assert_eq!((table.n_rows(), table.row(0).unwrap()), (2, vec![Cell::Number(1.0)]));
}

#[test]
fn files_of_other_formats_are_errors_that_say_so() {
    let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert!(error(b"\xd0\xcf\x11\xe0old").contains("save it as .xlsx without a password"), "{}", error(b"\xd0\xcf\x11\xe0old"));
    assert!(error(&zip(&[("_rels/.rels", "<Relationships/>")])).contains("not an Excel workbook"));
    assert!(error(&workbook(&[])).contains("no rows: the sheet 'Sheet1' is empty"));
}

#[test]
fn declared_sizes_decide_nothing() {
    let start = Instant::now();
    let mut bytes = workbook(&[vec![text("a")], vec![text("b")]]);
    let n_rows = read(&bytes).unwrap().n_rows();
    assert_eq!(n_rows, 1);
    // Every byte of the archive that is changed gives a table or an error.
    for at in 0..bytes.len() {
        let byte = std::mem::replace(&mut bytes[at], 0xff);
        let _ = read(&bytes);
        bytes[at] = byte;
    }
    let rows = "<row><c r=\"A1048576\"><v>1</v></c></row><row><c r=\"XFD1\"><v>1</v></c></row>".repeat(10_000);
    let wide = workbook(&[vec![Some(SheetCell::Xml(format!("><v>1</v></c></row>{rows}<row><c><v>1</v>")))]]);
    let error = read_with(&wide, &TableOptions { ragged: RaggedRows::Pad, ..TableOptions::default() });
    assert_eq!(error.unwrap().n_rows(), 20_001);
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn a_wide_header_over_nearly_empty_rows_is_an_error() {
    let header: String = (0..16_000).map(|column| format!("<c t=\"str\"><v>c{column}</v></c>")).collect();
    let rows = "<row><c><v>1</v></c></row>".repeat(5_000);
    let cell = format!("t=\"str\"><v>first</v></c>{header}</row>{rows}<row><c><v>1</v>");
    let error = read(&workbook(&[vec![Some(SheetCell::Xml(cell))]])).unwrap_err().to_string();
    assert!(error.contains("nearly all fields of the header's 16001 are missing"), "{error}");
}

proptest! {
    #[test]
    fn damaged_parts_are_tables_or_errors(part in 0..3usize, changes in prop::collection::vec((any::<u16>(), "[<>/&;=\"a-t 0-9]"), 1..5)) {
        let mut parts = [
            r#"<w><sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c t="str"><v>b&amp;_x000D_</v></c></row>
                <row><c s="1"><v>45657.5</v></c><c t="inlineStr"><is><t>x</t></is></c></row></sheetData></w>"#,
            r#"<sst><si><t>a</t></si><si><r><t xml:space="preserve">b</t></r><rPh><t>c</t></rPh></si></sst>"#,
            r#"<s><numFmt numFmtId="164" formatCode="[$-409]d/m/yy;@"/><cellXfs><xf/><xf numFmtId="164"/></cellXfs></s>"#,
        ]
        .map(str::to_owned);
        for (at, text) in changes {
            let at = usize::from(at) % parts[part].len();
            parts[part].replace_range(at..=at, &text);
        }
        let _ = read(&workbook_of_parts(&["a"], &parts[..1], &parts[1], &parts[2]));
    }
}
