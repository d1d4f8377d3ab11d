//! A check of what a message of an Arrow IPC file declares, before it is decoded: its buffers lie in its body and do not overlap,
//! and it expands to a bounded multiple of the file's size.

use arrow_ipc::{Message, MessageHeader, RecordBatch};

use super::arrow_error::MessageError;

/// Maximum number of bytes per compressed byte of a message, and the number that any message may expand to.
const MAX_RATIO: u64 = 200;
const FREE_BYTES: u64 = 1 << 26;

/// Maximum number of values per byte, and the number that any file may have. A boolean takes a bit; only values of the null type
/// take nothing.
const VALUES_OF_BYTE: u64 = 64;
const FREE_VALUES: u64 = 1 << 24;

/// The length before a buffer that was left uncompressed because compression did not shorten it.
const UNCOMPRESSED: i64 = -1;

/// What the messages of a file may still declare.
#[derive(Debug)]
pub(super) struct Budget {
    n_values: u64,
    n_bytes: u64,
}

impl Budget {
    /// Returns the budget of a file of `n_bytes`, whose cells may take `n_cell_bytes`.
    pub fn new(n_bytes: u64, n_cell_bytes: u64) -> Self {
        Self { n_values: FREE_VALUES.max(n_bytes.saturating_mul(VALUES_OF_BYTE)), n_bytes: n_cell_bytes }
    }

    /// Checks a message whose body has `n_body_bytes` and follows `n_metadata_bytes`.
    ///
    /// # Errors
    /// Says what is out of proportion or malformed.
    pub fn check(&mut self, bytes: &[u8], n_metadata_bytes: usize) -> Result<(), MessageError> {
        let (metadata, body) = bytes.split_at_checked(n_metadata_bytes).ok_or(MessageError::Truncated)?;
        let header = metadata.split_first_chunk::<8>().ok_or(MessageError::NoHeader)?;
        // Before version 1.0 of Arrow, only a length of four bytes stood before the message.
        let message = if header.0.starts_with(&[255; 4]) { header.1 } else { &metadata[4..] };
        let message = arrow_ipc::root_as_message(message).map_err(|_| MessageError::MalformedHeader)?;
        let batch = batch_of(&message).ok_or(MessageError::NoRows)?;
        self.check_buffers(&batch, body)?;
        self.check_lengths(&batch)
    }

    fn check_lengths(&mut self, batch: &RecordBatch) -> Result<(), MessageError> {
        let nodes = batch.nodes().into_iter().flatten();
        let lengths = nodes.map(|node| (node.length(), node.null_count())).chain([(batch.length(), 0)]);
        for (length, n_null) in lengths {
            let length = u64::try_from(length).map_err(|_| MessageError::NegativeRows)?;
            if u64::try_from(n_null).is_ok_and(|n_null| n_null > length) || n_null < 0 {
                return Err(MessageError::NullCount { n_null, length });
            }
            let n_left = self.n_values.checked_sub(length);
            self.n_values = n_left.ok_or(MessageError::TooManyValues)?;
        }
        Ok(())
    }

    fn check_buffers(&mut self, batch: &RecordBatch, body: &[u8]) -> Result<(), MessageError> {
        let (mut n_used, mut n_unfolded) = (0u64, 0u64);
        for buffer in batch.buffers().into_iter().flatten() {
            let place = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
            let content = place.and_then(|(start, n_bytes)| body.get(start..start.checked_add(n_bytes)?));
            let content = content.ok_or(MessageError::BufferBeyondMessage)?;
            n_used = n_used.saturating_add(content.len() as u64);
            if batch.compression().is_some() && !content.is_empty() {
                n_unfolded = n_unfolded.saturating_add(unfolded(content)?);
            }
        }
        if n_used > body.len() as u64 {
            return Err(MessageError::OverlappingBuffers);
        }
        let most = FREE_BYTES.max((body.len() as u64).saturating_mul(MAX_RATIO)).min(self.n_bytes);
        if n_unfolded > most {
            return Err(MessageError::TooLarge { n_bytes: n_unfolded, limit: most });
        }
        self.n_bytes -= n_unfolded;
        self.n_values = self.n_values.saturating_add(n_unfolded.saturating_mul(VALUES_OF_BYTE));
        Ok(())
    }
}

fn batch_of<'a>(message: &Message<'a>) -> Option<RecordBatch<'a>> {
    match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            // Each delta would copy all words before it.
            message.header_as_dictionary_batch().filter(|dictionary| !dictionary.isDelta())?.data()
        }
        _ => None,
    }
}

/// Returns the size that a compressed buffer declares.
fn unfolded(content: &[u8]) -> Result<u64, MessageError> {
    let (length, rest) = content.split_first_chunk::<8>().ok_or(MessageError::NoBufferSize)?;
    match i64::from_le_bytes(*length) {
        UNCOMPRESSED => Ok(rest.len() as u64),
        length => u64::try_from(length).map_err(|_| MessageError::NegativeBufferSize),
    }
}
