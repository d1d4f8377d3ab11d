//! The parts of a workbook (ECMA-376, part 1): a zip archive of XML files that refer to each other by relationships.

use std::fs::File;
use std::io::{BufReader, Read};

use quick_xml::events::Event;
use zip::ZipArchive;

use super::super::archive;
use super::super::packing::Packing;
use super::xml::{Xml, attribute, is};
use super::{ExcelError, SharedStrings, Styles};

/// An open workbook.
pub(super) struct Workbook {
    file: File,
    n_bytes: u64,
    archive: ZipArchive<BufReader<File>>,
    /// The name of its main part.
    name: String,
    /// The parts that it refers to.
    parts: Vec<Relationship>,
    /// The worksheets, in order.
    sheets: Vec<Sheet>,
    /// Whether dates are counted from 1904.
    pub is_1904: bool,
}

/// A worksheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sheet {
    pub name: String,
    pub is_hidden: bool,
    /// The number of its relationship.
    id: String,
}

/// A reference from one part to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relationship {
    id: String,
    /// The last word of its type, such as `worksheet`.
    kind: String,
    /// The name of the part in the archive.
    target: String,
}

impl Workbook {
    /// Opens a workbook; the memory and time that it takes are limited by `n_bytes`.
    pub fn open(file: File, n_bytes: u64) -> Result<Self, ExcelError> {
        let archive = archive::open(file.try_clone()?)?;
        let (parts, sheets) = (Vec::new(), Vec::new());
        let mut workbook = Self { file, n_bytes, archive, name: String::new(), parts, sheets, is_1904: false };
        let main = workbook.relationships("")?.into_iter().find(|part| part.kind == "officeDocument");
        workbook.name = main.ok_or(ExcelError::NoWorkbook)?.target;
        workbook.parts = workbook.relationships(&workbook.name.clone())?;
        workbook.read_sheets()?;
        Ok(workbook)
    }

    /// Returns the sheet with a name, or the first one that is not hidden.
    pub fn sheet(&self, name: Option<&str>) -> Result<&Sheet, ExcelError> {
        let found = match name {
            Some(name) => self.sheets.iter().find(|sheet| sheet.name == name),
            None => self.sheets.iter().find(|sheet| !sheet.is_hidden).or(self.sheets.first()),
        };
        found.ok_or_else(|| match name {
            Some(name) => ExcelError::NoSheet { name: name.to_owned(), available: mbm_config::some_of(&self.sheet_names()) },
            None => ExcelError::NoSheets,
        })
    }

    pub fn sheet_names(&self) -> Vec<&str> {
        self.sheets.iter().map(|sheet| sheet.name.as_str()).collect()
    }

    /// Opens the rows of a sheet.
    pub fn rows(&mut self, sheet: &Sheet) -> Result<Xml, ExcelError> {
        let part = self.parts.iter().find(|part| part.id == sheet.id).map(|part| part.target.clone());
        let name = part.ok_or_else(|| ExcelError::NoPart(sheet.name.clone()))?;
        self.part(&name)?.ok_or(ExcelError::NoPart(name))
    }

    pub fn shared_strings(&mut self) -> Result<SharedStrings, ExcelError> {
        let n_bytes = self.n_bytes;
        self.part_of_kind("sharedStrings")?.map_or(Ok(SharedStrings::default()), |xml| SharedStrings::read(xml, n_bytes))
    }

    pub fn styles(&mut self) -> Result<Styles, ExcelError> {
        self.part_of_kind("styles")?.map_or(Ok(Styles::default()), Styles::read)
    }

    fn part_of_kind(&mut self, kind: &str) -> Result<Option<Xml>, ExcelError> {
        let name = self.parts.iter().find(|part| part.kind == kind).map(|part| part.target.clone());
        name.map_or(Ok(None), |name| self.part(&name))
    }

    fn part(&mut self, name: &str) -> Result<Option<Xml>, ExcelError> {
        let Some(at) = self.archive.index_for_name(name) else { return Ok(None) };
        let packing = Packing::Zip(archive::member(&mut self.archive, at)?);
        let part: Box<dyn Read> = packing.open(self.file.try_clone()?, self.n_bytes)?;
        Ok(Some(Xml::new(part)))
    }

    fn read_sheets(&mut self) -> Result<(), ExcelError> {
        let mut xml = self.part(&self.name.clone())?.ok_or(ExcelError::NoWorkbook)?;
        loop {
            match xml.event()? {
                Event::Start(element) if is(&element, "workbookPr") => {
                    self.is_1904 = attribute(&element, "date1904")?.is_some_and(|value| value == "1" || value == "true");
                }
                Event::Start(element) if is(&element, "sheet") => {
                    let id = attribute(&element, "id")?.unwrap_or_default();
                    let is_worksheet = self.parts.iter().any(|part| part.id == id && part.kind == "worksheet");
                    let is_hidden = attribute(&element, "state")?.is_some_and(|state| state != "visible");
                    let name = attribute(&element, "name")?.unwrap_or_default();
                    self.sheets.extend(is_worksheet.then_some(Sheet { name, is_hidden, id }));
                }
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    /// Returns what a part refers to; the empty name is that of the archive.
    fn relationships(&mut self, part: &str) -> Result<Vec<Relationship>, ExcelError> {
        let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found = Vec::new();
        let Some(mut xml) = self.part(&format!("{prefix}_rels/{name}.rels"))? else { return Ok(found) };
        loop {
            match xml.event()? {
                Event::Start(element) if is(&element, "Relationship") => {
                    let kind = attribute(&element, "Type")?.unwrap_or_default();
                    let target = attribute(&element, "Target")?.unwrap_or_default();
                    let target = target.strip_prefix('/').map_or_else(|| format!("{prefix}{target}"), str::to_owned);
                    let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                    found.push(Relationship { id: attribute(&element, "Id")?.unwrap_or_default(), kind, target });
                }
                Event::Eof => return Ok(found),
                _ => {}
            }
        }
    }
}
