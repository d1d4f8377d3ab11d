//! Files written by `torch.save`, in all of its formats: the zip, the sequence of pickles before PyTorch 1.6, the tar before
//! 0.1.10.
//!
//! The pickle is interpreted with an allow-list of operations and types; nothing that it names is run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pytorch_reader::{DType, MAX_PICKLE_SIZE, PytorchReader, Tensor};
use zip::ZipArchive;

use crate::file::{Opened, TensorInfo, Values, max_expanded_size};
use crate::pickle::{PickleSize, pickle_size};
use crate::{Damage, Element, WeightFileError};

struct Tensors {
    path: PathBuf,
    by_name: BTreeMap<String, Tensor>,
}

/// Keys under which checkpoints store the weights, in order of preference; without any of them, the weights are at the top level.
const KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Number of pickles before the values in PyTorch 0.1.10 to 1.5: a magic number, a version, the machine, the tensors, the names
/// of storages.
const LEGACY_PICKLES: usize = 5;

pub(crate) fn open(path: &Path) -> Result<Opened, WeightFileError> {
    check(path)?;
    let reader = PytorchReader::new(path).map_err(|error| WeightFileError::damaged(path, Damage::PyTorch(error.into())))?;
    let all = reader.into_tensors();
    let key =
        KEYS.into_iter().find(|key| all.keys().any(|name| name.strip_prefix(*key).is_some_and(|rest| rest.starts_with('.'))));
    let prefix = key.map(|key| format!("{key}.")).unwrap_or_default();
    let own = all.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor)));
    let by_name: BTreeMap<String, Tensor> = own.collect();
    if by_name.is_empty() {
        return Err(WeightFileError::damaged(path, Damage::NoTensors));
    }
    let tensors = by_name.iter().map(|(name, tensor)| (name.clone(), info(tensor))).collect();
    let values = Box::new(Tensors { path: path.to_path_buf(), by_name });
    Ok(Opened { format: "pytorch", files: vec![path.to_path_buf()], tensors, values })
}

fn info(tensor: &Tensor) -> TensorInfo {
    TensorInfo { element: element(tensor.dtype()), shape: tensor.shape().to_vec() }
}

/// Rejects a file that would expand to far more than it holds. A broken file is left to its reader, which reports what is wrong.
fn check(path: &Path) -> Result<(), WeightFileError> {
    let file = File::open(path).map_err(WeightFileError::io(path))?;
    let n_bytes = file.metadata().map_err(WeightFileError::io(path))?.len();
    let mut file = BufReader::new(file);
    let mut start = [0; 262];
    let n_read = read_up_to(&mut file, &mut start).map_err(WeightFileError::io(path))?;
    file.seek(SeekFrom::Start(0)).map_err(WeightFileError::io(path))?;
    let refusal = match &start[..n_read] {
        [b'P', b'K', ..] => zip_refusal(file, n_bytes),
        [.., b'u', b's', b't', b'a', b'r'] => tar_refusal(file),
        _ => Ok((0..LEGACY_PICKLES).find_map(|_| pickle_refusal(&mut file).transpose()).transpose().unwrap_or_default()),
    };
    match refusal {
        Ok(Some(damage)) => Err(WeightFileError::damaged(path, damage)),
        Ok(None) | Err(_) => Ok(()),
    }
}

fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    loop {
        match file.read(&mut buffer[n_read..])? {
            0 => return Ok(n_read),
            n => n_read += n,
        }
    }
}

fn pickle_refusal(input: &mut impl BufRead) -> io::Result<Option<Damage>> {
    pickle_size(input).map(|pickle_size| pickle_size.refusal())
}

fn zip_refusal(file: BufReader<File>, n_bytes: u64) -> io::Result<Option<Damage>> {
    let mut archive = ZipArchive::new(file)?;
    let (mut n_unpacked, mut pickles) = (0u64, Vec::new());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at)?;
        n_unpacked = n_unpacked.saturating_add(entry.size());
        let is_pickle = entry.name().is_ok_and(|name| name == "data.pkl" || name.ends_with("/data.pkl"));
        if is_pickle && entry.size() <= MAX_PICKLE_SIZE {
            pickles.push(at);
        }
    }
    if n_unpacked > max_expanded_size(n_bytes) {
        return Ok(Some(Damage::ArchiveTooLarge { n_bytes, n_unfolded: n_unpacked, limit: max_expanded_size(n_bytes) }));
    }
    for at in pickles {
        let size = archive.by_index(at)?.size();
        let refusal = pickle_refusal(&mut BufReader::new(archive.by_index(at)?.take(size)))?;
        if refusal.is_some() {
            return Ok(refusal);
        }
    }
    Ok(None)
}

/// Checks the pickles of a tar: each of its parts consists of several, with numbers and values between them.
fn tar_refusal(file: BufReader<File>) -> io::Result<Option<Damage>> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut entry = BufReader::new(entry);
        let refusal = match name.as_str() {
            "sys_info" | "pickle" => pickle_refusal(&mut entry),
            "storages" => walk(&mut entry, storage_size),
            "tensors" => walk(&mut entry, tensor_size),
            _ => Ok(None),
        };
        // A broken part is left to its reader, too, and the next ones are checked.
        if let Ok(Some(damage)) = refusal {
            return Ok(Some(damage));
        }
    }
    Ok(None)
}

/// Iterates over pickles, each but the first of which is followed by bytes; `size` reads how many.
fn walk<R: BufRead>(input: &mut R, size: fn(&mut R, &str) -> io::Result<u64>) -> io::Result<Option<Damage>> {
    let mut is_first = true;
    loop {
        let pickle_size = pickle_size(input)?;
        let PickleSize::Bounded { class } = &pickle_size else { return Ok(pickle_size.refusal()) };
        let n_bytes = if std::mem::take(&mut is_first) { 0 } else { size(input, class)? };
        io::copy(&mut input.by_ref().take(n_bytes), &mut io::sink())?;
    }
}

/// Reads the number of values of a storage and returns their size in bytes.
fn storage_size(input: &mut impl BufRead, class: &str) -> io::Result<u64> {
    let mut n_values = [0; 8];
    input.read_exact(&mut n_values)?;
    let size = match class {
        "DoubleStorage" | "LongStorage" => 8,
        "FloatStorage" | "IntStorage" => 4,
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
        _ => 1,
    };
    Ok(u64::from_le_bytes(n_values).saturating_mul(size))
}

/// Reads the rank of a tensor and returns the size in bytes of its shape, strides and storage offset.
fn tensor_size(input: &mut impl BufRead, _class: &str) -> io::Result<u64> {
    let mut rank = [0; 8];
    input.read_exact(&mut rank)?;
    let [a, b, c, d, ..] = rank;
    Ok(u64::from(u32::from_le_bytes([a, b, c, d])) * 16 + 8)
}

fn element(dtype: DType) -> Element {
    match dtype {
        DType::F64 => Element::F64,
        DType::F32 => Element::F32,
        DType::F16 => Element::F16,
        DType::BF16 => Element::Bf16,
        DType::I64 => Element::I64,
        DType::I32 => Element::I32,
        DType::I16 => Element::I16,
        DType::I8 => Element::I8,
        DType::U64 => Element::U64,
        DType::U32 => Element::U32,
        DType::U16 => Element::U16,
        DType::U8 => Element::U8,
        DType::Bool => Element::Bool,
    }
}

impl Values for Tensors {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, WeightFileError> {
        let bytes = self.by_name.get(name).ok_or_else(WeightFileError::no_tensor(&self.path, name))?.read();
        bytes.map_err(|error| WeightFileError::damaged(&self.path, Damage::PyTorch(error.into())))
    }
}
