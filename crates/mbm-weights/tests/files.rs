//! Tests of every weight format, with valid and hostile files.

use std::io::Write;
use std::path::{Path, PathBuf};

use mbm_weights::{Element, WeightFile, WeightFileError};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn problem(path: &Path) -> String {
    match WeightFile::open(path) {
        Ok(file) => file.tensors().keys().find_map(|name| file.read(name).err()).expect("an error").to_string(),
        Err(error) => error.to_string(),
    }
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary folder can be written");
    path
}

/// Returns a safetensors file with the given header and number of values.
fn safetensors(header: &str, n_values: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..n_values).flat_map(|value| (value as f32).to_le_bytes()));
    bytes
}

const TWO: &str =
    r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]}}"#;

#[test]
fn pytorch_zip_and_legacy_files_are_read() {
    for name in ["zip.pt", "legacy.pth"] {
        let file = WeightFile::open(&golden(name)).unwrap();
        assert_eq!(file.tensors().keys().collect::<Vec<_>>(), ["count", "half", "turned", "weight"], "{name}");
        assert_eq!(file.tensors()["half"].element, Element::F16);
        assert_eq!(file.read("weight").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(file.tensors()["turned"].shape, [3, 2]);
        assert_eq!(file.read("turned").unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(file.read("half").unwrap(), [0.5, -2.0]);
        assert_eq!(file.read("count").unwrap(), [7.0]);
        assert!(matches!(file.read("bias"), Err(WeightFileError::NoTensor { .. })));
    }
}

#[test]
fn conversion_preserves_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (WeightFile::open(&golden("legacy.pth")).unwrap(), folder.path().join("x.safetensors"));
    source.write_safetensors(&target).unwrap();
    let converted = WeightFile::open(&target).unwrap();
    assert_eq!(converted.tensors(), source.tensors());
    for name in source.tensors().keys() {
        assert_eq!(converted.read(name).unwrap(), source.read(name).unwrap());
    }
}

#[test]
fn malicious_pickles_run_nothing() {
    for name in ["evil.pt", "evil-legacy.pth", "evil-plain.bin"] {
        // Either rejected, or read without what the pickle requested.
        if let Ok(file) = WeightFile::open(&golden(name)) {
            assert_eq!(file.tensors().keys().collect::<Vec<_>>(), ["weight"], "{name}");
        }
        assert!(!Path::new("ran-by-a-pickle").exists(), "{name}");
    }
}

#[test]
fn safetensors_with_inconsistent_headers_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let file = WeightFile::open(&written(folder.path(), "two.safetensors", &safetensors(TWO, 3))).unwrap();
    assert_eq!((file.read("a").unwrap(), file.read("b").unwrap()), (vec![0.0, 1.0], vec![2.0]));
    assert_eq!(file.hash().unwrap().len(), 64);
    let mut long = u64::MAX.to_le_bytes().to_vec();
    long.extend(b"{}");
    let cases: [(&[u8], &str); 6] = [
        (&safetensors(TWO, 2), "its header declares"),
        (&safetensors(&TWO.replace("[8,12]", "[4,8]"), 2), "its header"),
        (&safetensors(&TWO.replace("[1,1]", "[9223372036854775807,9223372036854775807]"), 3), "its header"),
        (&safetensors(&TWO.replace("[8,12]", "[8,4611686018427387904]"), 3), "its header"),
        (&long, "a header of 18446744073709551615 bytes"),
        (b"abc", "too short for the length of a header"),
    ];
    for (bytes, want) in cases {
        let problem = problem(&written(folder.path(), "bad.safetensors", bytes));
        assert!(problem.contains(want), "{want}: {problem}");
    }
}

#[test]
fn shards_are_read_as_one_and_only_from_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let only = |name: &str| format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
    written(folder.path(), "x-1.safetensors", &safetensors(&only("a"), 1));
    written(folder.path(), "x-2.safetensors", &safetensors(&only("b"), 1));
    let index = r#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#;
    written(folder.path(), "model.safetensors.index.json", index.as_bytes());
    assert_eq!(WeightFile::open(folder.path()).unwrap().read("b").unwrap(), [0.0]);
    written(folder.path(), "model.safetensors.index.json", index.replace("x-2", "x-1").as_bytes());
    assert!(problem(folder.path()).contains("tensor 'b' is not in 'x-1.safetensors'"));
    written(folder.path(), "model.safetensors.index.json", index.replace("x-2", "../x-2").as_bytes());
    assert!(problem(folder.path()).contains("is not a file in this folder"));
    assert!(problem(tempfile::tempdir().unwrap().path()).contains("a folder without model.safetensors"));
}

#[test]
fn tensorflow_tensors_may_span_shards() {
    let folder = tempfile::tempdir().unwrap();
    let model = r#"{"weightsManifest": [{"paths": ["g1", "g2"], "weights": [
        {"name": "a", "shape": [], "dtype": "float32"}, {"name": "b", "shape": [2], "dtype": "float32"}]}]}"#;
    let path = written(folder.path(), "model.json", model.as_bytes());
    let bytes: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    written(folder.path(), "g1", &bytes[..6]);
    written(folder.path(), "g2", &bytes[6..]);
    let file = WeightFile::open(&path).unwrap();
    assert_eq!((file.read("a").unwrap(), file.read("b").unwrap()), (vec![1.0], vec![2.0, 3.0]));
    written(folder.path(), "g2", &bytes[7..]);
    assert!(problem(&path).contains("its tensors take 12 bytes, its shards hold 11"));
    for (from, to, want) in [
        ("[2]", "[4611686018427387904, 4]", "too large"),
        ("\"g2\"", "\"../g2\"", "is not a file in this folder"),
        ("\"b\", \"shape\"", "\"a\", \"shape\"", "duplicate tensor 'a'"),
        ("\"shape\": [2]", "\"quantization\": {}, \"shape\": [2]", "quantized weights are not supported"),
    ] {
        let problem = problem(&written(folder.path(), "model.json", model.replace(from, to).as_bytes()));
        assert!(problem.contains(want), "{want}: {problem}");
    }
}

/// Returns a legacy checkpoint with one tensor `t` of the given shape and strides over a storage of four numbers.
fn view(shape: &[u32], strides: &[u32]) -> Vec<u8> {
    let number = |n: &u32| [b"J".as_slice(), &n.to_le_bytes()].concat();
    let tuple = |numbers: &[u32]| [b"(".to_vec(), numbers.iter().flat_map(number).collect(), b"t".to_vec()].concat();
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend([b"\x80\x02}".to_vec(), text("little_endian"), b"\x88s.".to_vec()].concat());
    let storage =
        [b"(".to_vec(), text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu"), b"K\x04NtQ".to_vec()];
    let arguments = [b"(".to_vec(), storage.concat(), b"K\0".to_vec(), tuple(shape), tuple(strides), b"\x89}t".to_vec()].concat();
    bytes.extend([b"\x80\x02}".to_vec(), text("t"), b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments].concat());
    bytes.extend([b"Rs.\x80\x02](".to_vec(), text("0"), b"e.".to_vec(), 4u64.to_le_bytes().to_vec()].concat());
    bytes.extend([1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[test]
fn expanded_size_is_limited_by_file_size() {
    let folder = tempfile::tempdir().unwrap();
    let repeated = WeightFile::open(&written(folder.path(), "small.pth", &view(&[3, 2], &[0, 1]))).unwrap();
    assert_eq!(repeated.read("t").unwrap(), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    for (shape, strides, want) in [
        (vec![1_000_000_000], vec![0], "with tensor 't' of shape [1000000000] its tensors take 4000000000 bytes; a file of"),
        (vec![1000, 1000, 4], vec![0, 0, 1], "its tensors take 16000000 bytes"),
        (vec![1; 65], vec![0; 65], "tensor 't' has 65 dimensions, at most 64 are allowed"),
    ] {
        let path = written(folder.path(), "large.pth", &view(&shape, &strides));
        let message = WeightFile::open(&path).err().expect("an error").to_string();
        assert!(message.contains(want), "{want}: {message}");
    }
}

#[test]
fn duplicate_shards_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let model = r#"{"weightsManifest": [{"paths": ["g", "g"], "weights": [{"name": "a", "shape": [2], "dtype": "float32"}]}]}"#;
    let path = written(folder.path(), "model.json", model.as_bytes());
    written(folder.path(), "g", &[0; 4]);
    assert!(problem(&path).contains("shard 'g' is listed twice"));
}

/// Runs `work` on a thread with a stack of 256 KiB, an eighth of the default.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread").join().expect("no panic")
}

#[test]
fn deeply_nested_files_are_rejected_on_a_small_stack() {
    let folder = tempfile::tempdir().unwrap();
    let nested = "[".repeat(100_000);
    let pickle = [b"\x80\x02".as_slice(), &b"]".repeat(100_000), &b"a".repeat(99_999), b"."].concat();
    let deepest = [b"\x80\x02}K\0".as_slice(), &b"]".repeat(190), &b"a".repeat(189), b"s."].concat();
    let json = |start: &str| format!("{start}{nested}").into_bytes();
    for (name, bytes) in [
        ("x.pt", pickle),
        ("x.pt", deepest),
        ("model.json", json(r#"{"weightsManifest": [{"paths": [], "weights": [{"name": "a", "quantization": "#)),
        ("x.safetensors", safetensors(&format!(r#"{{"__metadata__": {nested}"#), 0)),
        ("model.safetensors.index.json", json(r#"{"metadata": "#)),
    ] {
        let path = written(folder.path(), name, &bytes);
        let path = if name.contains("index") { folder.path().to_owned() } else { path };
        let message = on_a_small_stack(move || problem(&path));
        assert!(message.contains("damaged or refused"), "{name}: {message}");
    }
}

#[test]
fn pickles_that_copy_long_names_are_rejected_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let key = [b"X".as_slice(), &(1u32 << 18).to_le_bytes(), &vec![b'k'; 1 << 18]].concat();
    let pickle = [b"\x80\x02}".as_slice(), &key, b"Nsq\x01(", &b"h\x01".repeat(4000), b"t."].concat();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("archive/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&pickle).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(pickle.len() as u64);
    tar.append_data(&mut header, "tensors", pickle.as_slice()).unwrap();
    for (name, bytes) in [("x.bin", pickle.clone()), ("x.pt", zip), ("x.tar", tar.into_inner().unwrap())] {
        let message = problem(&written(folder.path(), name, &bytes));
        assert!(message.contains("copies memoized values"), "{name}: {message}");
    }
}

#[test]
fn truncated_archives_and_other_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["zip.pt", "legacy.pth"] {
        let whole = std::fs::read(golden(name)).unwrap();
        for length in (0..whole.len()).step_by(7) {
            let path = written(folder.path(), name, &whole[..length]);
            assert!(!problem(&path).is_empty());
        }
    }
    assert!(problem(&written(folder.path(), "notes.txt", b"hello")).contains("not a weight file"));
    assert!(problem(&folder.path().join("nothing.pt")).contains("nothing.pt"));
}

#[test]
fn lengths_beyond_the_file_allocate_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    // BINBYTES8 of 2^63 bytes after the protocol opcode.
    let mut pickle = vec![0x80, 4, 0x8e];
    pickle.extend((1u64 << 63).to_le_bytes());
    assert!(!problem(&written(folder.path(), "long.pt", &pickle)).is_empty());
    // Sets the element count of the first storage, after the storage keys of the legacy format, to 2^62.
    let mut legacy = std::fs::read(golden("legacy.pth")).unwrap();
    let count = legacy.windows(8).rposition(|it| it == 6u64.to_le_bytes()).unwrap();
    legacy[count..count + 8].copy_from_slice(&(1u64 << 62).to_le_bytes());
    assert!(!problem(&written(folder.path(), "long.pth", &legacy)).is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn files_with_a_changed_byte_never_panic(at in 0usize..2000, to in proptest::num::u8::ANY, which in 0usize..3) {
        let name = ["zip.pt", "legacy.pth", "two.safetensors"][which];
        let mut bytes = if which == 2 { safetensors(TWO, 3) } else { std::fs::read(golden(name)).unwrap() };
        let at = at % bytes.len();
        bytes[at] = to;
        let mut file = tempfile::Builder::new().suffix(name).tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        if let Ok(opened) = WeightFile::open(file.path()) {
            opened.tensors().keys().for_each(|name| drop(opened.read(name)));
        }
    }
}

#[test]
fn word_vectors_are_read_and_errors_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["the", ". . .", "nowhere"].map(str::to_owned);
    for header in ["", "3 2\n"] {
        let path = written(folder.path(), "vectors.txt", format!("{header}the 0.5 -1\n. . . 2 3e-1\nthe 9 9\n").as_bytes());
        assert_eq!(mbm_weights::word_vector_width(&path).unwrap(), 2);
        let found = mbm_weights::read_word_vectors(&path, &words).unwrap();
        assert_eq!(found, [Some(vec![0.5, -1.0]), Some(vec![2.0, 0.3]), None]);
    }
    let problem = |text: &str| {
        let path = written(folder.path(), "vectors.txt", text.as_bytes());
        mbm_weights::read_word_vectors(&path, &words).unwrap_err().to_string()
    };
    assert!(problem("the 1 2\na\n").contains("line 2: expected a word and 2 numbers"));
    assert!(problem("the 1 x\n").contains("line 1: 'the' has a value that is not a finite number"));
    assert!(problem("the 1 inf\n").contains("not a finite number"));
    assert!(problem("").contains("not word vectors"));
    assert!(problem("word\n").contains("not word vectors"));
    let path = written(folder.path(), "vectors.txt", b"3 1000000000000\nthe 1 2\n");
    assert!(mbm_weights::word_vector_width(&path).unwrap_err().to_string().contains("not word vectors"));
}

/// Returns a small zip whose entry decompresses to `n_bytes` zeros.
fn bomb(name: &str, n_bytes: u64) -> Vec<u8> {
    let zeros = vec![0u8; 1 << 20];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    (0..n_bytes >> 20).for_each(|_| encoder.write_all(&zeros).expect("memory takes it"));
    let packed = encoder.finish().expect("memory takes it");
    let sizes = [packed.len() as u32, n_bytes as u32].map(u32::to_le_bytes).concat();
    let (crc, method, name_length) = ([0u8; 4], 8u16.to_le_bytes(), (name.len() as u16).to_le_bytes());
    let mut zip =
        [b"PK\x03\x04\x14\0\0\0".as_slice(), &method, &[0; 4], &crc, &sizes, &name_length, &[0; 2], name.as_bytes(), &packed]
            .concat();
    let start = zip.len() as u32;
    zip.extend(
        [b"PK\x01\x02\x14\0\x14\0\0\0".as_slice(), &method, &[0; 4], &crc, &sizes, &name_length, &[0; 16], name.as_bytes()]
            .concat(),
    );
    let length = zip.len() as u32 - start;
    zip.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &length.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat());
    zip
}

#[test]
fn zip_that_decompresses_to_a_thousand_times_its_size_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = bomb("archive/data.pkl", 1 << 30);
    assert!(bytes.len() < 2 << 20);
    let path = written(folder.path(), "bomb.pt", &bytes);
    let started = std::time::Instant::now();
    let message = problem(&path);
    assert!(message.contains("damaged or refused"), "{message}");
    assert!(started.elapsed().as_secs() < 20, "{message}");
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak: u64 =
        peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 400 << 10, "{peak} kB");
}
