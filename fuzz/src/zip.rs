//! Writes zip archives of files that are stored as they are, with the checksums that their reader expects.

/// Returns an archive of files with their names.
pub fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let n_bytes = content.len() as u32;
        let numbers = [crc32(content), n_bytes, n_bytes].map(u32::to_le_bytes).concat();
        let entry = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &numbers, &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let start = (archive.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02\x14\0", &entry[..], &[0; 10], &start, name.as_bytes()].concat());
        archive.extend([b"PK\x03\x04", &entry[..], name.as_bytes(), content].concat());
    }
    let n_files = (files.len() as u16).to_le_bytes();
    let (n_bytes, start) = ((directory.len() as u32).to_le_bytes(), (archive.len() as u32).to_le_bytes());
    archive.extend(directory);
    archive.extend([&b"PK\x05\x06\0\0\0\0"[..], &n_files, &n_files, &n_bytes, &start, &[0, 0]].concat());
    archive
}

/// The checksum of zip archives, bit by bit.
fn crc32(content: &[u8]) -> u32 {
    let bit = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !content.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}
