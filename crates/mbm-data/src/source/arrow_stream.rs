//! Where the messages of an Arrow IPC stream lie: without a footer, one follows the other.

use std::fs::File;

use arrow_ipc::{MessageHeader, MetadataVersion};
use arrow_schema::SchemaRef;

use super::arrow_error::{ArrowFileError, MessageError};
use super::arrow_ipc::{Content, MessageLocation, read_at, schema_of};

/// What stands before the length of each message.
pub(super) const MARKER: [u8; 4] = [255; 4];

/// What a stream holds.
pub(super) struct Stream {
    pub schema: SchemaRef,
    pub version: MetadataVersion,
    /// Dictionaries and rows, in order.
    pub messages: Vec<(Content, MessageLocation)>,
}

/// Finds the messages of a stream in a file of `n_bytes`.
pub(super) fn stream(file: &File, n_bytes: u64) -> Result<Stream, ArrowFileError> {
    let (mut found, mut messages, mut start) = (None, Vec::new(), 0);
    while let Some(n_metadata) = metadata_length(file, start, n_bytes)? {
        let metadata = read_at(file, start + 8, n_metadata)?;
        let message = arrow_ipc::root_as_message(&metadata).map_err(|_| MessageError::MalformedHeader)?;
        let n_body = u64::try_from(message.bodyLength()).map_err(|_| ArrowFileError::BeyondFile)?;
        let end = (start + 8 + n_metadata as u64).checked_add(n_body).filter(|end| *end <= n_bytes);
        let end = end.ok_or(ArrowFileError::BeyondFile)?;
        let location = MessageLocation { start, n_metadata_bytes: 8 + n_metadata, n_body_bytes: n_body as usize };
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or(ArrowFileError::NoSchema)?;
                found = Some((schema_of(schema)?, message.version()));
            }
            MessageHeader::DictionaryBatch => messages.push((Content::Dictionary, location)),
            _ => messages.push((Content::Rows, location)),
        }
        start = end;
    }
    let (schema, version) = found.ok_or(ArrowFileError::NoSchema)?;
    Ok(Stream { schema, version, messages })
}

/// Returns the length of the message at `start`; `None` at the end of the stream.
fn metadata_length(file: &File, start: u64, n_bytes: u64) -> Result<Option<usize>, ArrowFileError> {
    if start == n_bytes {
        return Ok(None);
    }
    if n_bytes - start < 8 {
        return Err(MessageError::Truncated.into());
    }
    let header = read_at(file, start, 8)?;
    let length = i32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let length = usize::try_from(length).ok().filter(|_| header[..4] == MARKER).ok_or(MessageError::MalformedHeader)?;
    if length as u64 > n_bytes - start - 8 {
        return Err(MessageError::Truncated.into());
    }
    Ok((length > 0).then_some(length))
}
