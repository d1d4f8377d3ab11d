//! IDX files (the format of MNIST), plain or gzip-compressed: images, with labels if the file of labels is next to them.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Input, Source};
use crate::{Cell, DataError, TableBuilder};

pub(super) struct Idx {
    input: Input,
    columns: Vec<String>,
    labels: Option<Input>,
}

/// Maximum number of pixels of an image, as many as the largest size in a config has (4096 x 4096).
const MAX_PIXELS: usize = 1 << 24;

/// What is wrong with an IDX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// Another type of values or another number of dimensions.
    #[error("not an IDX file of unsigned bytes in {rank} dimensions: it starts with {magic:?}")]
    Magic {
        /// The expected number of dimensions.
        rank: usize,
        /// The first bytes of the file.
        magic: [u8; 4],
    },
    /// Images without pixels, or with too many.
    #[error("images of {height} x {width} pixels")]
    ImageSize {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// Files of labels and images that do not belong together.
    #[error("{n_labels} labels for {n_images} images")]
    LabelCount {
        /// Number of labels.
        n_labels: usize,
        /// Number of images.
        n_images: usize,
    },
    /// A file that is shorter than it declares.
    #[error("the file ends early: {n_values} values declared in {n_bytes} bytes")]
    TooShort {
        /// Number of declared values, of one byte each.
        n_values: u64,
        /// Size of the file.
        n_bytes: u64,
    },
    /// A file that ends early or cannot be read.
    #[error("the file ends early: {0}")]
    EndsEarly(#[source] std::io::Error),
}

impl Idx {
    pub fn open(input: &Input) -> Result<Self, DataError> {
        let labels = labels_of(&input.path).map(|path| Input::of_file(&path, &input.options)).transpose()?;
        let columns = ["image"].into_iter().chain(labels.is_some().then_some("label")).map(str::to_owned).collect();
        Ok(Self { input: input.clone(), columns, labels })
    }
}

impl Source for Idx {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let (mut file, [n_images, height, width]) = open_dimensions::<3>(&self.input)?;
        let mut labels = self.labels.as_ref().map(|labels| Labels::open(labels, n_images)).transpose()?;
        let n_pixels = height.checked_mul(width).filter(|n| (1..=MAX_PIXELS).contains(n));
        let n_pixels = n_pixels.ok_or_else(|| self.input.malformed(None, IdxError::ImageSize { height, width }))?;
        let mut pixels = vec![0; n_pixels];
        for _ in 0..n_images {
            read_exact(&self.input, &mut file, &mut pixels)?;
            let image = [format!("P5 {width} {height} 255\n").as_bytes(), &pixels].concat();
            let label = labels.as_mut().map(Labels::next).transpose()?;
            table.push_row(&std::iter::once(Cell::Bytes(image)).chain(label).collect())?;
        }
        Ok(())
    }
}

/// Returns the labels of `...-images-idx3-ubyte[.gz]`, which are in `...-labels-idx1-ubyte[.gz]` if that file exists.
fn labels_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let plain = labels.trim_end_matches(".gz");
    let candidates = [plain.to_owned(), format!("{plain}.gz")];
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| path.with_file_name(candidate))
        .find(|path| path.is_file())
}

/// The file of labels, streamed along with the images instead of held in memory.
struct Labels<'a> {
    input: &'a Input,
    file: Box<dyn Read>,
}

impl<'a> Labels<'a> {
    fn open(input: &'a Input, n_images: usize) -> Result<Self, DataError> {
        let (file, [n_labels]) = open_dimensions::<1>(input)?;
        if n_labels != n_images {
            return Err(input.malformed(None, IdxError::LabelCount { n_labels, n_images }));
        }
        Ok(Self { input, file })
    }

    fn next(&mut self) -> Result<Cell, DataError> {
        let mut label = [0];
        read_exact(self.input, &mut self.file, &mut label)?;
        Ok(Cell::Text(label[0].to_string()))
    }
}

/// Opens a file and reads its dimensions. An uncompressed file must have at least as many bytes as it declares values.
fn open_dimensions<const RANK: usize>(input: &Input) -> Result<(Box<dyn Read>, [usize; RANK]), DataError> {
    let mut file = input.open()?;
    let dims = read_header::<RANK>(input, &mut file)?;
    let n_values = dims.iter().fold(1u64, |n_values, dim| n_values.saturating_mul(*dim as u64));
    let n_bytes = input.n_bytes;
    if input.is_plain() && n_values > n_bytes {
        return Err(input.malformed(None, IdxError::TooShort { n_values, n_bytes }));
    }
    Ok((Box::new(BufReader::new(file)), dims))
}

/// Checks the magic number (unsigned bytes, `RANK` dimensions) and reads the dimensions.
fn read_header<const RANK: usize>(input: &Input, file: &mut dyn Read) -> Result<[usize; RANK], DataError> {
    let mut magic = [0; 4];
    read_exact(input, file, &mut magic)?;
    if magic != [0, 0, 8, RANK as u8] {
        return Err(input.malformed(None, IdxError::Magic { rank: RANK, magic }));
    }
    let mut dims = [0; RANK];
    for dim in &mut dims {
        let mut bytes = [0; 4];
        read_exact(input, file, &mut bytes)?;
        *dim = u32::from_be_bytes(bytes) as usize;
    }
    Ok(dims)
}

fn read_exact(input: &Input, file: &mut dyn Read, buffer: &mut [u8]) -> Result<(), DataError> {
    file.read_exact(buffer).map_err(|error| input.malformed(None, IdxError::EndsEarly(error)))
}
