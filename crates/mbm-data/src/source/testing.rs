//! Writers of files for tests.

use std::io::Write;

use flate2::{Compression, write};

/// Writes a gzip file.
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

/// Writes a Zstandard file.
pub(super) fn zstandard(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

/// Writes a zip archive, whose files are compressed with Deflate.
pub(super) fn zip<N: AsRef<str>, C: AsRef<[u8]>>(files: &[(N, C)]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (name, content) = (name.as_ref().as_bytes(), content.as_ref());
        let mut deflate = write::DeflateEncoder::new(Vec::new(), Compression::best());
        deflate.write_all(content).unwrap();
        let packed = deflate.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let sizes = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let method = 8u16;
        let entry =
            [&[20, 0, 0, 8][..], &method.to_le_bytes(), &[0; 4], &sizes, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        directory.extend([b"PK\x01\x02\x14\0", &entry[..], &[0; 10], &(zip.len() as u32).to_le_bytes(), name].concat());
        zip.extend([b"PK\x03\x04", &entry[..], name, &packed].concat());
    }
    let (n_files, start) = ((files.len() as u16).to_le_bytes(), (zip.len() as u32).to_le_bytes());
    let n_directory = (directory.len() as u32).to_le_bytes();
    zip.extend(&directory);
    zip.extend([&b"PK\x05\x06\0\0\0\0"[..], &n_files, &n_files, &n_directory, &start, &[0; 2]].concat());
    zip
}

/// A cell of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SheetCell {
    /// A text, stored with those of the workbook.
    Text(String),
    /// A number.
    Number(f64),
    /// A day, in the format of dates.
    Date(f64),
    /// The content of a `c` element with its attributes, as XML.
    Xml(String),
}

/// Writes a workbook of one sheet, named `Sheet1`; `None` is a cell that is not stored.
pub(super) fn workbook(rows: &[Vec<Option<SheetCell>>]) -> Vec<u8> {
    workbook_of(&[("Sheet1", rows)])
}

/// Writes a workbook of several sheets.
pub(super) fn workbook_of(sheets: &[(&str, &[Vec<Option<SheetCell>>])]) -> Vec<u8> {
    let mut texts = Vec::new();
    let names: Vec<&str> = sheets.iter().map(|(name, _)| *name).collect();
    let contents: Vec<String> = sheets.iter().map(|(_, rows)| sheet(rows, &mut texts)).collect();
    let items: String = texts.iter().map(|text| format!(r#"<si><t xml:space="preserve">{}</t></si>"#, escaped(text))).collect();
    let styles = r#"<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;
    workbook_of_parts(&names, &contents, &format!("<sst uniqueCount=\"99999999999999\">{items}</sst>"), styles)
}

/// Writes a workbook of parts in XML.
pub(super) fn workbook_of_parts(names: &[&str], sheets: &[String], texts: &str, styles: &str) -> Vec<u8> {
    const TYPE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let relationship =
        |id: &str, kind: &str, target: &str| format!(r#"<Relationship Id="{id}" Type="{TYPE}/{kind}" Target="{target}"/>"#);
    let relationships = |inner: String| format!("<Relationships>{inner}</Relationships>");
    let mut parts: Vec<(String, String)> = Vec::new();
    let (mut listed, mut targets) = (String::new(), relationship("s", "styles", "styles.xml"));
    for (at, (name, sheet)) in names.iter().zip(sheets).enumerate() {
        let id = format!("r{at}");
        listed += &format!(r#"<sheet name="{}" sheetId="{}" r:id="{id}"/>"#, escaped(name), at + 1);
        targets += &relationship(&id, "worksheet", &format!("worksheets/{id}.xml"));
        parts.push((format!("xl/worksheets/{id}.xml"), sheet.clone()));
    }
    targets += &relationship("t", "sharedStrings", "/xl/sharedStrings.xml");
    parts.extend([
        ("_rels/.rels".to_owned(), relationships(relationship("w", "officeDocument", "xl/workbook.xml"))),
        ("xl/_rels/workbook.xml.rels".to_owned(), relationships(targets)),
        (
            "xl/workbook.xml".to_owned(),
            format!("<?xml version=\"1.0\"?><workbook xmlns:r=\"x\"><sheets>{listed}</sheets></workbook>"),
        ),
        ("xl/sharedStrings.xml".to_owned(), texts.to_owned()),
        ("xl/styles.xml".to_owned(), styles.to_owned()),
    ]);
    zip(&parts)
}

fn sheet(rows: &[Vec<Option<SheetCell>>], texts: &mut Vec<String>) -> String {
    let mut xml = "<worksheet><sheetData>".to_owned();
    for (row_idx, row) in rows.iter().enumerate() {
        xml += &format!("<row r=\"{}\">", row_idx + 1);
        for (column, cell) in row.iter().enumerate().filter_map(|(column, cell)| Some((column, cell.as_ref()?))) {
            let reference = format!("r=\"{}{}\"", letters(column), row_idx + 1);
            xml += &match cell {
                SheetCell::Number(value) => format!("<c {reference}><v>{value}</v></c>"),
                SheetCell::Date(value) => format!("<c {reference} s=\"1\"><v>{value}</v></c>"),
                SheetCell::Xml(xml) => format!("<c {reference} {xml}</c>"),
                SheetCell::Text(text) => {
                    texts.push(text.clone());
                    format!("<c {reference} t=\"s\"><v>{}</v></c>", texts.len() - 1)
                }
            };
        }
        xml += "</row>";
    }
    xml + "</sheetData></worksheet>"
}

/// Names a column: A to Z, then AA.
fn letters(column: usize) -> String {
    let last = char::from(b'A' + (column % 26) as u8);
    if column < 26 { last.to_string() } else { letters(column / 26 - 1) + &last.to_string() }
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace("_x", "_x005F_x");
    text.replace('\r', "_x000D_")
}
