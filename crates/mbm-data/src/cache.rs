//! On-disk cache of encoder features, keyed by what they were computed from.
//!
//! Each encoder has a folder of segments: files that are written under a temporary name, renamed once they are complete, never
//! modified afterwards, and read through memory maps. Processes share a cache without locks: each adds its own segments, and a
//! killed process loses only the rows that it had not written yet. When the cache is full, the least recently used segments are
//! removed first.
//!
//! A segment holds, in little-endian order, the magic bytes `mbmfeat2`, the number of rows, an entry for each row, and then the
//! values of all rows. An entry holds the row's key, the offset of its first value (in values), steps, width, and a hash of key,
//! shape and values. A row whose hash does not match is recomputed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use memmap2::Mmap;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::Xxh3Default;

use crate::Frames;

/// The SHA-256 of what something was computed from.
pub type CacheKey = [u8; 32];

/// A folder of cached features with a size limit.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    /// The cache folder.
    pub folder: PathBuf,
    /// Maximum total size in bytes.
    pub max_bytes: u64,
}

/// The contents of a cache in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheInfo {
    /// Total size of all segments in bytes.
    pub n_bytes: u64,
    /// Number of rows.
    pub n_rows: u64,
    /// Number of encoders that computed them.
    pub n_encoders: usize,
}

/// The cached features of one encoder.
#[derive(Debug)]
pub(crate) struct EncoderCache {
    cache: FeatureCache,
    folder: PathBuf,
    segments: Vec<Mmap>,
    locations: HashMap<CacheKey, RowLocation>,
    pending: Vec<(CacheKey, Frames)>,
    n_pending_bytes: usize,
    flushed: Instant,
}

#[derive(Debug, Clone, Copy)]
struct RowLocation {
    segment: usize,
    start: usize,
    steps: usize,
    width: usize,
    hash: u64,
}

const MAGIC: &[u8; 8] = b"mbmfeat2";
/// Size in bytes of the header that precedes the entries, and of each entry.
const HEAD: usize = 16;
const ENTRY: usize = 56;
/// Amount of pending data, in bytes, and time after which computed rows are written.
const MAX_PENDING: usize = 64 << 20;
const FLUSH_AFTER: Duration = Duration::from_secs(20);
/// Age after which a temporary file is considered abandoned.
const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const ENDING: &str = "features";

impl FeatureCache {
    /// Returns `MBM_CACHE_DIR`, or else `mbm` in the user's cache folder (`XDG_CACHE_HOME` or `~/.cache`); `None` if no such
    /// folder is known.
    pub fn default_folder() -> Option<PathBuf> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("MBM_CACHE_DIR").or_else(|| {
            let users = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
            users.map(|folder| folder.join("mbm"))
        })
    }

    /// Returns what the cache holds; zeros if the folder does not exist.
    ///
    /// # Errors
    /// Fails if a folder cannot be read.
    pub fn info(&self) -> io::Result<CacheInfo> {
        let mut info = CacheInfo::default();
        for folder in self.encoder_folders()? {
            let segments = segments(&folder)?;
            info.n_encoders += usize::from(!segments.is_empty());
            for (path, n_bytes, _) in segments {
                info.n_bytes += n_bytes;
                info.n_rows += map(&path).map_or(0, |(_, rows)| rows.len() as u64);
            }
        }
        Ok(info)
    }

    /// Removes every segment; processes that have mapped one can read it until they exit.
    ///
    /// # Errors
    /// Fails if a file cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        self.encoder_folders()?.iter().try_for_each(|folder| match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Opens the cached features of an encoder, skipping damaged segments.
    pub(crate) fn encoder_cache(&self, encoder: &CacheKey) -> EncoderCache {
        let folder = self.features().join(hexadecimal(&encoder[..16]));
        let (mut maps, mut locations) = (Vec::new(), HashMap::new());
        for (path, _, _) in segments(&folder).unwrap_or_default() {
            let Ok((map, rows)) = map(&path) else { continue };
            locations.extend(rows.into_iter().map(|(key, location)| (key, RowLocation { segment: maps.len(), ..location })));
            maps.push(map);
            // Marks the segment as recently used. This fails without consequences if the cache is read-only.
            let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        }
        let (pending, n_pending_bytes, flushed) = (Vec::new(), 0, Instant::now());
        EncoderCache { cache: self.clone(), folder, segments: maps, locations, pending, n_pending_bytes, flushed }
    }

    fn features(&self) -> PathBuf {
        self.folder.join("features")
    }

    fn encoder_folders(&self) -> io::Result<Vec<PathBuf>> {
        let folders = match fs::read_dir(self.features()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let folders = folders.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        Ok(folders.into_iter().filter(|path| path.is_dir()).collect())
    }

    /// Removes the least recently used segments until the rest fits.
    fn shrink(&self) -> io::Result<()> {
        let each = self.encoder_folders()?.iter().map(|folder| segments(folder)).collect::<io::Result<Vec<_>>>()?;
        let mut all: Vec<(PathBuf, u64, SystemTime)> = each.concat();
        all.sort_by_key(|(_, _, used)| *used);
        let mut n_bytes: u64 = all.iter().map(|(_, n_bytes, _)| n_bytes).sum();
        for (path, size, _) in all {
            if n_bytes <= self.max_bytes {
                break;
            }
            // Another process may have removed it in the meantime.
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            n_bytes -= size;
        }
        Ok(())
    }
}

impl EncoderCache {
    /// Whether features for a key were found in the cache when it was opened.
    pub fn holds(&self, key: &CacheKey) -> bool {
        self.locations.contains_key(key)
    }

    /// Returns the features for a key, if they are cached and intact.
    pub fn get(&self, key: &CacheKey) -> Option<Frames> {
        let location = self.locations.get(key)?;
        let n_values = location.steps * location.width;
        let bytes = self.segments[location.segment].get(location.start..location.start + 4 * n_values)?;
        if hash(key, location.steps, location.width, bytes) != location.hash {
            return None;
        }
        let data = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Some(Frames { width: location.width, data })
    }

    /// Adds features, which stay in memory until enough are pending or some time has passed.
    pub fn put(&mut self, key: CacheKey, features: Frames) -> io::Result<()> {
        self.n_pending_bytes += 4 * features.data.len() + ENTRY;
        self.pending.push((key, features));
        if self.n_pending_bytes > MAX_PENDING || self.flushed.elapsed() > FLUSH_AFTER { self.flush() } else { Ok(()) }
    }

    /// Writes pending features; an error names the folder.
    pub fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        let rows = std::mem::take(&mut self.pending);
        self.n_pending_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        self.add_segment(&rows).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.folder.display())))
    }

    fn add_segment(&self, rows: &[(CacheKey, Frames)]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        remove_stale(&self.folder)?;
        // Subject to the user's umask like every other file; temporary files would be private.
        let permissions = fs::Permissions::from_mode(0o666);
        let aside = tempfile::Builder::new().prefix(".writing-").permissions(permissions).tempfile_in(&self.folder)?;
        let name = write(aside.as_file(), rows)?;
        aside.as_file().sync_all()?;
        aside.persist(self.folder.join(format!("{name}.{ENDING}"))).map_err(|error| error.error)?;
        self.cache.shrink()
    }
}

/// Writes a whole segment and returns its name, a hash of the rows' keys.
fn write(file: &File, rows: &[(CacheKey, Frames)]) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut out = BufWriter::new(file);
    out.write_all(MAGIC)?;
    out.write_all(&(rows.len() as u64).to_le_bytes())?;
    let mut start = 0u64;
    for (key, features) in rows {
        hasher.update(key);
        let steps = features.data.len() / features.width.max(1);
        out.write_all(key)?;
        out.write_all(&start.to_le_bytes())?;
        out.write_all(&(steps as u32).to_le_bytes())?;
        out.write_all(&(features.width as u32).to_le_bytes())?;
        let values: Vec<u8> = features.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&hash(key, steps, features.width, &values).to_le_bytes())?;
        start += features.data.len() as u64;
    }
    for value in rows.iter().flat_map(|(_, features)| &features.data) {
        out.write_all(&value.to_le_bytes())?;
    }
    out.flush()?;
    Ok(hexadecimal(&hasher.finalize()[..16]))
}

/// Returns the hash of a row: its key, shape and values.
fn hash(key: &CacheKey, steps: usize, width: usize, values: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(key);
    hash.update(&(steps as u32).to_le_bytes());
    hash.update(&(width as u32).to_le_bytes());
    hash.update(values);
    hash.digest()
}

/// Lists the path, size and last use of each segment; empty if the folder does not exist.
fn segments(folder: &Path) -> io::Result<Vec<(PathBuf, u64, SystemTime)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Another process may remove a segment while the folder is being listed.
        if let (true, Ok(metadata)) = (path.extension().is_some_and(|it| it == ENDING), fs::metadata(&path)) {
            found.push((path, metadata.len(), metadata.modified()?));
        }
    }
    found.sort();
    Ok(found)
}

/// Maps a segment into memory and parses its entries.
fn map(path: &Path) -> io::Result<(Mmap, Vec<(CacheKey, RowLocation)>)> {
    let file = File::open(path)?;
    // SAFETY: segments are renamed into place when complete, and no process modifies or truncates one afterwards; removing one
    // leaves the mapped pages intact.
    let map = unsafe { Mmap::map(&file)? };
    let rows = rows(&map).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a feature segment"))?;
    Ok((map, rows))
}

/// Parses the entries of a segment; `None` if any of them lies outside the segment.
fn rows(bytes: &[u8]) -> Option<Vec<(CacheKey, RowLocation)>> {
    let n_rows = u64::from_le_bytes(bytes.strip_prefix(MAGIC)?.get(..8)?.try_into().ok()?);
    let values = usize::try_from(n_rows).ok()?.checked_mul(ENTRY)?.checked_add(HEAD)?;
    let entries = bytes.get(HEAD..values)?;
    entries.as_chunks::<ENTRY>().0.iter().map(|entry| row(entry, values, bytes.len())).collect()
}

/// Parses an entry of a segment of `n_bytes`, whose values start at `values`.
fn row(entry: &[u8; ENTRY], values: usize, n_bytes: usize) -> Option<(CacheKey, RowLocation)> {
    let (key, rest) = entry.split_first_chunk::<32>()?;
    let (start, sizes) = rest.split_first_chunk::<8>()?;
    let (steps, rest) = sizes.split_first_chunk::<4>()?;
    let (width, hash) = rest.split_first_chunk::<4>()?;
    let steps = u32::from_le_bytes(*steps) as usize;
    let width = u32::from_le_bytes(*width) as usize;
    let hash = u64::from_le_bytes(hash.try_into().ok()?);
    let start = usize::try_from(u64::from_le_bytes(*start)).ok()?.checked_mul(4)?.checked_add(values)?;
    let end = steps.checked_mul(width)?.checked_mul(4)?.checked_add(start)?;
    (end <= n_bytes).then_some((*key, RowLocation { segment: 0, start, steps, width, hash }))
}

/// Removes temporary files that killed processes have left behind.
fn remove_stale(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_aside = entry.file_name().to_string_lossy().starts_with(".writing-");
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if is_aside && age.is_some_and(|age| age > STALE_AFTER) {
            // Another process may have removed it first.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Formats bytes as lowercase hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cache(max_bytes: u64) -> (tempfile::TempDir, FeatureCache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache { folder: folder.path().to_owned(), max_bytes };
        (folder, cache)
    }

    fn features(value: f32) -> Frames {
        Frames { width: 2, data: vec![value, -value, 1.0, 0.0] }
    }

    #[test]
    fn flushed_features_are_visible_to_others_under_their_encoder() {
        let (_folder, cache) = cache(1 << 20);
        let mut encoder_cache = cache.encoder_cache(&[1; 32]);
        encoder_cache.put([7; 32], features(0.5)).unwrap();
        encoder_cache.put([8; 32], features(2.0)).unwrap();
        assert!(cache.encoder_cache(&[1; 32]).get(&[7; 32]).is_none(), "not yet written");
        encoder_cache.flush().unwrap();
        let later = cache.encoder_cache(&[1; 32]);
        assert_eq!(later.get(&[7; 32]), Some(features(0.5)));
        assert_eq!(later.get(&[8; 32]), Some(features(2.0)));
        assert!(later.get(&[9; 32]).is_none());
        assert!(cache.encoder_cache(&[2; 32]).get(&[7; 32]).is_none());
        let info = cache.info().unwrap();
        assert_eq!((info.n_rows, info.n_encoders), (2, 1));
        cache.clear().unwrap();
        assert_eq!(cache.info().unwrap(), CacheInfo::default());
        assert_eq!(later.get(&[7; 32]), Some(features(0.5)), "mapped segments outlive their names");
    }

    #[test]
    fn least_recently_used_segments_are_removed_first() {
        let (_folder, cache) = cache(2 * (HEAD + ENTRY + 16) as u64);
        for (key, age) in [(1, 300), (2, 200), (3, 100)] {
            let mut encoder_cache = cache.encoder_cache(&[0; 32]);
            encoder_cache.put([key; 32], features(f32::from(key))).unwrap();
            encoder_cache.flush().unwrap();
            let old = SystemTime::now() - Duration::from_secs(age);
            let newest = segments(&encoder_cache.folder).unwrap().into_iter().max_by_key(|(_, _, used)| *used).unwrap().0;
            File::open(newest).unwrap().set_modified(old).unwrap();
        }
        let encoder_cache = cache.encoder_cache(&[0; 32]);
        assert_eq!([1, 2, 3].map(|key| encoder_cache.get(&[key; 32]).is_some()), [false, true, true]);
    }

    #[test]
    fn damaged_segments_and_abandoned_files_are_skipped() {
        let (_folder, cache) = cache(1 << 20);
        let mut encoder_cache = cache.encoder_cache(&[0; 32]);
        encoder_cache.put([1; 32], features(1.0)).unwrap();
        encoder_cache.flush().unwrap();
        fs::write(encoder_cache.folder.join("damaged.features"), b"mbmfeat2\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
        fs::write(encoder_cache.folder.join("empty.features"), b"").unwrap();
        let abandoned = encoder_cache.folder.join(".writing-x");
        fs::write(&abandoned, b"mbm").unwrap();
        File::open(&abandoned).unwrap().set_modified(SystemTime::now() - 2 * STALE_AFTER).unwrap();
        let mut later = cache.encoder_cache(&[0; 32]);
        assert_eq!(later.get(&[1; 32]), Some(features(1.0)));
        later.put([2; 32], features(2.0)).unwrap();
        later.flush().unwrap();
        assert!(!abandoned.exists());
    }

    #[test]
    fn corrupted_rows_are_skipped_and_intact_rows_are_found() {
        let (_folder, cache) = cache(1 << 20);
        let mut encoder_cache = cache.encoder_cache(&[0; 32]);
        encoder_cache.put([1; 32], features(1.0)).unwrap();
        encoder_cache.put([2; 32], features(2.0)).unwrap();
        encoder_cache.flush().unwrap();
        let path = segments(&encoder_cache.folder).unwrap().remove(0).0;
        let whole = fs::read(&path).unwrap();
        let values = HEAD + 2 * ENTRY;
        for at in [HEAD, HEAD + 32, HEAD + 50, values, values + 15] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let encoder_cache = cache.encoder_cache(&[0; 32]);
            assert_eq!((encoder_cache.get(&[1; 32]), encoder_cache.get(&[2; 32])), (None, Some(features(2.0))), "byte {at}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode_of_a_new_file());
    }

    fn mode_of_a_new_file() -> u32 {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777
    }

    proptest! {
        #[test]
        fn corrupted_segments_never_panic(at in 0usize..176, byte in 0u8..=255, length in 0usize..200) {
            let file = tempfile::NamedTempFile::new().unwrap();
            write(file.as_file(), &[([1; 32], features(1.0)), ([2; 32], features(2.0))]).unwrap();
            let mut bytes = fs::read(file.path()).unwrap();
            prop_assert_eq!(rows(&bytes).map(|rows| rows.len()), Some(2));
            let n_bytes = bytes.len();
            bytes[at % n_bytes] = byte;
            bytes.truncate(length);
            for (_, location) in rows(&bytes).into_iter().flatten() {
                prop_assert!(location.start + 4 * location.steps * location.width <= bytes.len());
            }
        }
    }
}
