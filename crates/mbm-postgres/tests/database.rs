//! Compares an index in a table with one in a folder, on a real server that `with-postgres` in this folder starts.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use mbm_index::{
    Cancellation, Filter, GraphSettings, Hit, Index, IndexColumn, IndexError, IndexSpec, IndexValue, IndexWriter, Precision,
    Search,
};
use mbm_postgres::{PostgresError, PostgresIndex, PostgresWriter, remove};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 16;
const N_ROWS: usize = 20_000;

fn url() -> String {
    std::env::var("MBM_TEST_POSTGRES").expect("MBM_TEST_POSTGRES is not set; run tests/with-postgres")
}

fn spec(precision: Precision, graph: Option<GraphSettings>) -> IndexSpec {
    let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
    let columns = vec![column("na\"me", false), column("year", true)];
    IndexSpec { width: WIDTH, precision, graph, columns, origin: "here".into() }
}

/// Rows in clusters, some without a name or a year.
fn rows() -> Vec<(Vec<f32>, Vec<IndexValue>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut vector = |centre: &[f32]| -> Vec<f32> { centre.iter().map(|x| x + rng.random_range(-0.5..0.5)).collect() };
    let centres: Vec<Vec<f32>> = (0..40).map(|_| vector(&[0.0; WIDTH])).collect();
    let row = |row: usize| {
        let names = ["a dog", "It's a\tcat\\", "Größe\n漢", "Dog", ""];
        let name = IndexValue::Text(names[row % 5].into());
        let year = if row.is_multiple_of(7) { IndexValue::Null } else { IndexValue::Number(row as f64 / 2.0) };
        (vector(&centres[row % 40]), vec![name, year])
    };
    (0..N_ROWS).map(row).collect()
}

fn queries() -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    (0..20).map(|_| (0..WIDTH).map(|_| rng.random_range(-0.5..0.5)).collect()).collect()
}

fn write(table: &str, spec: IndexSpec) -> PostgresIndex {
    let mut writer = PostgresWriter::create(&url(), table, spec).unwrap();
    rows().iter().for_each(|(vector, values)| writer.push(vector, values).unwrap());
    assert_eq!(writer.finish().unwrap(), N_ROWS);
    PostgresIndex::open(&url(), table).unwrap()
}

/// Asserts that both have the same rows, with cosines that differ only by rounding.
fn assert_same(found: &[Hit], want: &[Hit], tolerance: f32, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (a, b) in found.iter().zip(want) {
        assert!((a.similarity - b.similarity).abs() <= tolerance, "{what}: {a:?}, {b:?}");
    }
    // Rows with nearly equal cosines may be swapped.
    let sorted = |hits: &[Hit]| {
        let mut values: Vec<String> = hits.iter().map(|hit| format!("{:?}", hit.values)).collect();
        values.sort();
        values
    };
    assert_eq!(sorted(found), sorted(want), "{what}");
}

const FILTERS: [&str; 10] = [
    "\"na\"\"me\" = 'a dog'",
    "\"na\"\"me\" != 'a dog' AND year < 100",
    "\"na\"\"me\" LIKE '%dog%'",
    "\"na\"\"me\" = 'It''s a\tcat\\'",
    "year IS NULL OR \"na\"\"me\" IS NULL",
    "NOT year > 200",
    "year IN (1, 2.5, 3e2) OR \"na\"\"me\" > 'b'",
    "year >= 9900",
    "year > 1e9",
    "year >= 1000",
];

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn table_returns_the_same_rows_as_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let mut writer = IndexWriter::create(&path, spec(Precision::F32, None)).unwrap();
    rows().iter().for_each(|(vector, values)| writer.push(vector, values).unwrap());
    writer.finish(&|_| ()).unwrap();
    let embedded = Index::open(&path).unwrap();
    let table = write("same", spec(Precision::F32, Some(GraphSettings { links: 16, candidates: 200 })));
    assert_eq!(table.spec.origin, "here");
    assert_eq!(table.info().unwrap().n_rows, N_ROWS);
    let filters = FILTERS.map(|text| Some(Filter::parse(text).unwrap()));
    for filter in filters.iter().chain([&None]) {
        let exact = Search::nearest(10).width(None).filter(filter.as_ref());
        let (found, want) = (table.search(&queries(), exact).unwrap(), embedded.search(&queries(), exact).unwrap());
        found.iter().zip(&want).for_each(|(found, want)| assert_same(found, want, 1e-5, &format!("{filter:?}")));
        let by_graph = exact.width(Some(400));
        let found = table.search(&queries(), by_graph).unwrap();
        let n_right: usize =
            found.iter().zip(&want).map(|(a, b)| a.iter().filter(|hit| b.iter().any(|it| it.values == hit.values)).count()).sum();
        let n_all: usize = want.iter().map(Vec::len).sum();
        assert!(n_right as f64 >= 0.98 * n_all as f64, "{filter:?}: {n_right} of {n_all}");
    }
    let condition = Filter::parse("year >= 8000").unwrap();
    let n_removed = remove(&url(), "same", &condition).unwrap();
    assert_eq!(n_removed, mbm_index::remove(&path, &condition).unwrap());
    assert_eq!(table.info().unwrap().n_rows, N_ROWS - n_removed);
}

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn f16_search_is_accurate_and_i8_is_refused() {
    let table = write("halves", spec(Precision::F16, Some(GraphSettings { links: 16, candidates: 100 })));
    let own = rows().swap_remove(123);
    let hits = table.search(&[own.0], Search::nearest(1).width(Some(100))).unwrap();
    // Half precision has 11 significant bits.
    assert!((hits[0][0].similarity - 1.0).abs() < 1e-3 && hits[0][0].values[1] == own.1[1]);
    let refused = PostgresWriter::create(&url(), "bytes", spec(Precision::I8, None)).err().unwrap().to_string();
    assert_eq!(refused, "PostgreSQL stores vectors as f32 or f16");
}

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn unfinished_addition_leaves_the_table_unchanged() {
    let table = write("unharmed", spec(Precision::F32, None));
    let mut writer = PostgresWriter::open(&url(), "unharmed").unwrap();
    // More than one chunk.
    for _ in 0..2 {
        rows().iter().for_each(|(vector, values)| writer.push(vector, values).unwrap());
    }
    assert_eq!(table.info().unwrap().n_rows, N_ROWS);
    drop(writer);
    assert_eq!(table.info().unwrap().n_rows, N_ROWS);
    let mut writer = PostgresWriter::open(&url(), "unharmed").unwrap();
    writer.push(&[1.0; WIDTH], &[IndexValue::Null, IndexValue::Number(f64::NAN)]).unwrap();
    assert_eq!(writer.finish().unwrap(), 1);
    assert_eq!(table.info().unwrap().n_rows, N_ROWS + 1);
}

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn closed_connection_is_reopened() {
    let mut writer = PostgresWriter::create(&url(), "ended", spec(Precision::F32, None)).unwrap();
    writer.push(&[1.0; WIDTH], &[IndexValue::Null, IndexValue::Null]).unwrap();
    writer.finish().unwrap();
    let table = PostgresIndex::open(&format!("{}&application_name=ended", url()), "ended").unwrap();
    let mut client = postgres::Client::connect(&url(), postgres::NoTls).unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'";
    assert_eq!(client.execute(end, &[]).unwrap(), 1);
    let search = Search::nearest(1).width(None);
    // The first search may fail when it finds the connection closed.
    let found = (0..2).filter_map(|_| table.search(&[vec![1.0; WIDTH]], search).ok()).last().unwrap();
    assert_eq!(found[0].len(), 1);
}

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn database_aborts_a_search_past_its_time_limit() {
    let spec = IndexSpec { columns: vec![IndexColumn { name: "text".into(), is_number: false }], ..spec(Precision::F32, None) };
    let mut writer = PostgresWriter::create(&url(), "slow", spec).unwrap();
    for _ in 0..10_000 {
        writer.push(&[1.0; WIDTH], &[IndexValue::Text("a".repeat(2000))]).unwrap();
    }
    writer.finish().unwrap();
    let table = PostgresIndex::open(&url(), "slow").unwrap();
    // PostgreSQL needs about a tenth of a second for one such pattern and 10,000 texts.
    let patterns: Vec<String> = (0..100).map(|at| format!("text LIKE '{}b{at}'", "%a".repeat(12))).collect();
    let filter = Filter::parse(&patterns.join(" OR ")).unwrap();
    let cancellation = Cancellation::after(Duration::from_millis(300));
    let search = Search::nearest(1).width(None).filter(&filter).cancellation(&cancellation);
    let started = Instant::now();
    let error = table.search(&[vec![1.0; WIDTH]], search).unwrap_err();
    assert!(matches!(error, PostgresError::Index(IndexError::Cancelled)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(
        table.search(&[vec![1.0; WIDTH]], Search::nearest(1).width(None)).unwrap()[0].len(),
        1,
        "the connection is still usable"
    );
}

#[test]
#[ignore = "needs a server: tests/with-postgres"]
fn errors_are_descriptive() {
    let error = |result: Result<PostgresIndex, mbm_postgres::PostgresError>| result.err().unwrap().to_string();
    assert_eq!(
        error(PostgresIndex::open(&url(), "nowhere")),
        "table 'nowhere': no index found; create one with 'mbm index build'"
    );
    let nobody = error(PostgresIndex::open("postgres:///nowhere?host=/nowhere&user=x", "t"));
    assert!(nobody.starts_with("PostgreSQL: error connecting to server"), "{nobody}");
    assert!(error(PostgresIndex::open("no address", "t")).starts_with("PostgreSQL: invalid connection string"));
    let mut client: postgres::Client = postgres::Client::connect(&url(), postgres::NoTls).unwrap();
    client.batch_execute("CREATE TABLE stranger (x int)").unwrap();
    assert!(error(PostgresIndex::open(&url(), "stranger")).contains("no comment that describes an index"));
    let name = "it's \"quoted\"; DROP TABLE stranger";
    let mut writer = PostgresWriter::create(&url(), name, spec(Precision::F32, None)).unwrap();
    let nul = writer.push(&[1.0; WIDTH], &[IndexValue::Text("a\0b".into()), IndexValue::Null]).unwrap_err().to_string();
    assert_eq!(nul, "row 1: PostgreSQL cannot store a text that contains a NUL character");
    assert!(writer.push(&[1.0; 3], &[]).unwrap_err().to_string().contains("the vector has 3 dimensions"));
    drop(writer);
    let mut writer = PostgresWriter::create(&url(), name, spec(Precision::F32, None)).unwrap();
    writer.push(&[1.0; WIDTH], &[IndexValue::Null, IndexValue::Null]).unwrap();
    writer.finish().unwrap();
    assert_eq!(PostgresIndex::open(&url(), name).unwrap().info().unwrap().n_rows, 1);
    let again = PostgresWriter::create(&url(), name, spec(Precision::F32, None)).err().unwrap().to_string();
    assert!(again.contains("already exists"), "{again}");
    let mut own = spec(Precision::F32, None);
    own.columns[0].name = "mbm_id".into();
    assert!(PostgresWriter::create(&url(), "own", own).err().unwrap().to_string().contains("rename it"));
    let table = PostgresIndex::open(&url(), name).unwrap();
    let unknown = Filter::parse("colour = 1").unwrap();
    let search = Search::nearest(1).width(None).filter(&unknown);
    assert!(table.search(&queries(), search).unwrap_err().to_string().contains("no column 'colour'"));
}
