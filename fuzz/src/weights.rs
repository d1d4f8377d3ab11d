//! Any bytes as weights in any format: tensors or an error, never a panic, with memory proportional to the file.

use mbm_weights::WeightFile;

/// One file name per reader: safetensors, PyTorch zip, legacy pickle and tar, and TensorFlow.js.
const NAMES: [&str; 5] = ["t.safetensors", "t.pt", "t.pth", "t.tar", "model.json"];

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(NAMES[usize::from(*kind) % NAMES.len()]);
    // A shard that a TensorFlow.js or sharded description may refer to.
    let shard = folder.path().join("group1-shard1of1.bin");
    if std::fs::write(&path, content).is_err() || std::fs::write(shard, [0; 64]).is_err() {
        return;
    }
    for path in [path.as_path(), folder.path()] {
        if let Ok(file) = WeightFile::open(path) {
            file.tensors().keys().take(64).for_each(|name| drop(file.read(name)));
        }
    }
    let words = ["the", "a"].map(str::to_owned);
    let _ = mbm_weights::read_word_vectors(&path, &words);
}
