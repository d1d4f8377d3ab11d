//! Tests of whole tables: rows in, the same rows and hash out, whatever the batches and the types.

use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
use arrow_array::types::{Float64Type, Int16Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeListArray, Float64Array, Int64Array, IntervalYearMonthArray,
    LargeStringArray, ListArray, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;

use super::*;

/// Rows with cells of every kind, mixed in each column.
fn rows() -> Vec<Row> {
    vec![
        vec![Cell::Empty, Cell::Text("Größe 漢字".into()), Cell::Number(-0.5)],
        vec![Cell::Bool(true), Cell::Bytes(vec![0, 255]), Cell::Numbers(vec![1.0, 2.5, f64::MIN_POSITIVE])],
        vec![Cell::Json("[[1],[2]]".into()), Cell::Words(vec!["a".into(), "b c".into()]), Cell::NotUtf8(vec![0xff])],
        vec![Cell::Text(" ".into()), Cell::Words(vec![]), Cell::Bool(false)],
        vec![Cell::Numbers(vec![]), Cell::Bytes(vec![]), Cell::Number(1e300)],
    ]
}

fn names(n_columns: usize) -> Vec<String> {
    (0..n_columns).map(|at| format!("column {at}")).collect()
}

fn built(columns: &[String], rows: &[Row], n_in_memory: usize) -> Table {
    let mut table = TableBuilder::with_limit(columns.to_vec(), Path::new("."), n_in_memory);
    rows.iter().for_each(|row| table.push_row(row).unwrap());
    table.finish().unwrap()
}

fn rows_of(table: &Table) -> Vec<Row> {
    (0..table.n_rows()).map(|row_idx| table.row(row_idx).unwrap()).collect()
}

/// Cells as they are hashed, in which NaN equals itself.
fn bits(rows: &[Row]) -> Vec<Vec<Vec<u8>>> {
    let bytes = |cell: &Cell| {
        let mut bytes = vec![cell.borrowed().tag()];
        cell.borrowed().write_content(&mut bytes);
        bytes
    };
    rows.iter().map(|row| row.iter().map(bytes).collect()).collect()
}

#[test]
fn hash_of_columns_and_cells_never_changes() {
    let columns = vec!["first".into(), "second column".into(), "ä".into()];
    let table = Table::from_rows(columns, rows(), ".".into()).unwrap();
    assert_eq!(table.hash, "d80f74ee8952ea8524fc1eb91d0bc1f415ac7c75f7ded4bc3ee688afd514fa45");
}

#[test]
fn cells_are_read_one_by_one_and_column_by_column() {
    let table = built(&names(3), &rows(), 1 << 20);
    assert_eq!(table.cell(1, 0).unwrap(), Cell::Bool(true));
    let row = table.row_ref(0).unwrap();
    assert_eq!((row.cell(1), row.cell(0)), (CellRef::Text("Größe 漢字"), CellRef::Empty));
    let mut seen = Vec::new();
    table.visit(1..4, 1..3, |column, cell| seen.push((column, cell.into_owned()))).unwrap();
    let want: Vec<_> = [1, 2]
        .into_iter()
        .flat_map(|column| rows()[1..4].iter().map(move |row| (column, row[column].clone())).collect::<Vec<_>>())
        .collect();
    assert_eq!(seen, want);
}

#[test]
fn table_without_columns_or_rows_keeps_its_number_of_rows() {
    assert_eq!(rows_of(&built(&[], &[vec![], vec![]], 0)), [vec![], vec![]]);
    assert_eq!(built(&names(2), &[], 0).n_rows(), 0);
}

#[test]
fn columns_whose_batches_differ_have_a_schema_that_holds_both() {
    let rows: Vec<Row> = (0..20_000)
        .map(|row| vec![if row < 19_000 { Cell::Text("a".into()) } else { Cell::Number(f64::from(row)) }, Cell::Empty])
        .collect();
    let table = built(&names(2), &rows, 0);
    let schema = table.schema();
    assert!(schema.field(0).to_string().contains("LargeBinary"), "{schema}");
    let batches: Vec<RecordBatch> = table.batches().collect::<Result<_, _>>().unwrap();
    assert!(batches.len() > 2 && batches.iter().all(|batch| batch.schema() == schema));
    let again = Table::from_batches(&schema, batches, ".".into()).unwrap();
    assert_eq!((again.hash == table.hash, again.row(19_999).unwrap()), (true, rows[19_999].clone()));
}

#[test]
#[should_panic(expected = "one cell per column")]
fn row_with_a_wrong_number_of_cells_is_rejected() {
    built(&names(2), &[vec![Cell::Empty]], 0);
}

fn from_arrays(arrays: Vec<ArrayRef>) -> Result<Table, DataError> {
    let fields = arrays.iter().enumerate().map(|(at, array)| Field::new(at.to_string(), array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    Table::from_batches(&schema, [batch], ".".into())
}

#[test]
fn arrow_arrays_of_many_types_become_cells() {
    let mut dictionary = StringDictionaryBuilder::<Int16Type>::new();
    dictionary.extend([Some("red"), None, Some("red")]);
    let words = |lists: &[&[&str]]| {
        let mut builder = ListBuilder::new(arrow_array::builder::StringBuilder::new());
        lists.iter().for_each(|list| builder.append_value(list.iter().map(Some)));
        builder.finish()
    };
    let media = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x89"), None, Some(b"")])) as ArrayRef,
        ),
        (Arc::new(Field::new("path", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None, Some("a.png"), None]))),
    ]);
    let text = |text: &str| Cell::Text(text.into());
    let cases: Vec<(ArrayRef, [Cell; 3])> = vec![
        (Arc::new(StringArray::from(vec![Some("a"), Some(" "), None])), [text("a"), Cell::Empty, Cell::Empty]),
        (Arc::new(LargeStringArray::from(vec!["", "b", "c"])), [Cell::Empty, text("b"), text("c")]),
        (
            Arc::new(StringViewArray::from(vec!["a text that is not inlined", "\n", "c"])),
            [text("a text that is not inlined"), Cell::Empty, text("c")],
        ),
        (Arc::new(dictionary.finish()), [text("red"), Cell::Empty, text("red")]),
        (Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)])), [Cell::Number(7.0), Cell::Empty, Cell::Number(-1.0)]),
        (Arc::new(Float64Array::from(vec![0.5, f64::NAN, f64::INFINITY])), [Cell::Number(0.5), Cell::Empty, Cell::Empty]),
        (Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), [Cell::Bool(true), Cell::Empty, Cell::Bool(false)]),
        (
            Arc::new(Decimal128Array::from(vec![150, -5, 0]).with_precision_and_scale(5, 2).unwrap()),
            [text("1.50"), text("-0.05"), text("0.00")],
        ),
        (
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None, Some(1)])),
            [text("1970-01-01 00:00:00.000"), Cell::Empty, text("1970-01-01 00:00:00.001")],
        ),
        (
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), None, Some(vec![])])),
            [Cell::Numbers(vec![1.0, 2.0]), Cell::Empty, Cell::Numbers(vec![])],
        ),
        (
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
                Some(vec![Some(1.0), None]),
                Some(vec![Some(f64::NAN)]),
                Some(vec![Some(2.5)]),
            ])),
            [Cell::Json("[1.0,null]".into()), Cell::Json("[null]".into()), Cell::Numbers(vec![2.5])],
        ),
        (
            Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
                [Some(vec![Some(1), Some(2)]), Some(vec![Some(3), Some(4)]), None],
                2,
            )),
            [Cell::Numbers(vec![1.0, 2.0]), Cell::Numbers(vec![3.0, 4.0]), Cell::Empty],
        ),
        (
            Arc::new(words(&[&["a", "b"], &["c"], &[" "]])),
            [Cell::Words(vec!["a".into(), "b".into()]), Cell::Words(vec!["c".into()]), Cell::Words(vec![" ".into()])],
        ),
        (
            Arc::new(words(&[&["a"], &[], &["b"]])),
            [Cell::Words(vec!["a".into()]), Cell::Numbers(vec![]), Cell::Words(vec!["b".into()])],
        ),
        (
            Arc::new(media),
            [Cell::Bytes(vec![0x89]), Cell::Json("{\"bytes\":null,\"path\":\"a.png\"}".into()), Cell::Bytes(vec![])],
        ),
    ];
    let table = from_arrays(cases.iter().map(|(array, _)| Arc::clone(array)).collect()).unwrap();
    for (column, (array, want)) in cases.iter().enumerate() {
        let got: Vec<Cell> = (0..3).map(|row_idx| table.cell(row_idx, column).unwrap()).collect();
        assert_eq!(got, want, "{}", array.data_type());
    }
    let rows = (0..3).map(|row_idx| cases.iter().map(|(_, cells)| cells[row_idx].clone()).collect()).collect();
    assert_eq!(Table::from_rows(table.columns.clone(), rows, ".".into()).unwrap().hash, table.hash);
}

#[test]
fn slices_of_arrays_are_read_from_their_start() {
    let lists = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(f64::NAN)]), Some(vec![Some(2.0)]), None]);
    let arrays: [ArrayRef; 3] = [
        Arc::new(StringArray::from(vec!["x", " ", "z"])),
        Arc::new(BooleanArray::from(vec![None, Some(true), Some(false)])),
        Arc::new(lists),
    ];
    let table = from_arrays(arrays.iter().map(|array| array.slice(1, 2)).collect()).unwrap();
    assert_eq!(table.row(0).unwrap(), [Cell::Empty, Cell::Bool(true), Cell::Numbers(vec![2.0])]);
    assert_eq!(table.row(1).unwrap(), [Cell::Text("z".into()), Cell::Bool(false), Cell::Empty]);
}

#[test]
fn arrays_that_hold_the_same_cells_are_not_copied() {
    let values = Float64Array::from(vec![1.0; 1000]);
    let at = values.values().as_ptr();
    let table = from_arrays(vec![Arc::new(values)]).unwrap();
    let batch = table.batches().next().unwrap().unwrap();
    assert_eq!(arrow_array::cast::AsArray::as_primitive::<Float64Type>(batch.column(0)).values().as_ptr(), at);
}

#[test]
fn unsupported_arrow_types_and_other_fields_are_errors() {
    let error = from_arrays(vec![Arc::new(IntervalYearMonthArray::from(vec![1]))]).unwrap_err().to_string();
    assert!(error.contains("column '0': the Arrow type Interval(YearMonth) is not supported"), "{error}");
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Float64, true)]));
    let batch = RecordBatch::try_from_iter([("b", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
    let error = Table::from_batches(&schema, [batch], ".".into()).unwrap_err().to_string();
    assert!(error.contains("does not have the fields of the schema"), "{error}");
}

#[test]
fn deeply_nested_arrow_types_are_errors() {
    let nested = |depth: usize| {
        let deeper = |item: DataType, _| DataType::List(Arc::new(Field::new_list_field(item, true)));
        from_arrays(vec![arrow_array::new_null_array(&(0..depth).fold(DataType::Float64, deeper), 2)])
    };
    assert_eq!(nested(60).unwrap().row(1).unwrap(), [Cell::Empty]);
    let error = nested(64).unwrap_err().to_string();
    assert!(error.contains("types nested deeper than 64 levels"), "{error}");
}

fn any_cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        3 => Just(Cell::Empty),
        3 => ".{0,12}".prop_map(Cell::Text),
        3 => any::<f64>().prop_map(Cell::Number),
        1 => any::<bool>().prop_map(Cell::Bool),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Cell::Bytes),
        1 => prop::collection::vec(any::<f64>(), 0..5).prop_map(Cell::Numbers),
        1 => ".{0,12}".prop_map(Cell::Json),
        1 => prop::collection::vec(".{0,4}", 0..4).prop_map(Cell::Words),
        1 => prop::collection::vec(any::<u8>(), 0..5).prop_map(Cell::NotUtf8),
    ]
}

/// Rows of columns that hold one kind of cell, or any.
fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let same = (any_cell(), prop::collection::vec(any_cell(), 30)).prop_map(|(first, others)| {
        let same = |cell: Cell| if cell.borrowed().tag() == first.borrowed().tag() { cell } else { first.clone() };
        others.into_iter().map(same).collect::<Vec<_>>()
    });
    let columns = prop::collection::vec(prop_oneof![same, prop::collection::vec(any_cell(), 30)], 1..4);
    (columns, 0..30usize)
        .prop_map(|(columns, n_rows)| (0..n_rows).map(|row| columns.iter().map(|cells| cells[row].clone()).collect()).collect())
}

proptest! {
    #[test]
    fn rows_of_any_cells_are_read_as_they_were_written(rows in any_rows()) {
        let columns = names(rows.first().map_or(1, Vec::len));
        let (in_memory, in_file) = (built(&columns, &rows, usize::MAX), built(&columns, &rows, 0));
        prop_assert_eq!(bits(&rows_of(&in_memory)), bits(&rows));
        prop_assert_eq!(bits(&rows_of(&in_file)), bits(&rows));
        prop_assert_eq!(&in_memory.hash, &in_file.hash);
        let mut want = columns.join("\0").into_bytes();
        rows.iter().flatten().for_each(|cell| cell.borrowed().write(&mut want));
        prop_assert_eq!(&in_memory.hash, &crate::cache::hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(want)));
    }

    #[test]
    fn batches_of_a_table_are_the_same_table(rows in any_rows()) {
        // Arrow's blank texts and numbers that are not finite are empty cells.
        let normal = |cell: &Cell| match cell {
            Cell::Text(text) => Cell::text(text),
            Cell::Number(value) if !value.is_finite() => Cell::Empty,
            Cell::Numbers(_) => Cell::Numbers(vec![]),
            Cell::Words(_) => Cell::Words(vec!["word".into()]),
            cell => cell.clone(),
        };
        let rows: Vec<Row> = rows.iter().map(|row| row.iter().map(normal).collect()).collect();
        let table = built(&names(rows.first().map_or(1, Vec::len)), &rows, 0);
        let batches: Vec<RecordBatch> = table.batches().collect::<Result<_, _>>().unwrap();
        let again = Table::from_batches(&table.schema(), batches, ".".into()).unwrap();
        prop_assert_eq!(&again.hash, &table.hash);
        prop_assert_eq!(bits(&rows_of(&again)), bits(&rows));
    }
}
