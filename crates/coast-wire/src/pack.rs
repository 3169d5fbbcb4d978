//! A frame in the making: messages are appended until it is sealed and sent.

use serde::Serialize;

use crate::frame::{Class, HEADER_BYTES, write_header};
use crate::limits::MAX_FRAME_BYTES;
use crate::{Compressor, FileId, HashBytes, Time, WireError};

/// The number of [`ToReceiver::Whole`](crate::ToReceiver::Whole) among its siblings.
const WHOLE_VARIANT: u32 = 5;

/// Bytes of a `Whole` message beside its content, at most.
const WHOLE_OVERHEAD_BYTES: usize = 128;

/// Collects messages for one frame.
#[derive(Debug)]
pub struct Pack {
    class: Class,
    /// Room for the header, then the messages.
    buffer: Vec<u8>,
}

/// Why [`Pack::whole`] appended nothing.
#[derive(Debug)]
pub enum WholeError<E> {
    /// The content could not be read.
    Read(E),
    /// More or fewer bytes were read than announced.
    Length,
    /// The message could not be encoded.
    Wire(WireError),
}

impl Pack {
    /// An empty frame of this class.
    pub fn new(class: Class) -> Self {
        Self { class, buffer: vec![0; HEADER_BYTES] }
    }

    /// Bytes of the messages so far.
    pub fn len(&self) -> usize {
        self.buffer.len() - HEADER_BYTES
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When the frame would become larger than [`MAX_FRAME_BYTES`]; it is then as it was.
    pub fn push<M: Serialize>(&mut self, message: &M) -> Result<(), WireError> {
        let before = self.buffer.len();
        self.buffer =
            postcard::to_extend(message, std::mem::take(&mut self.buffer)).map_err(WireError::Encode)?;
        if self.len() > MAX_FRAME_BYTES {
            let bytes = self.len();
            self.buffer.truncate(before);
            return Err(WireError::TooLarge { bytes, limit: MAX_FRAME_BYTES });
        }
        Ok(())
    }

    /// Appends a [`ToReceiver::Whole`](crate::ToReceiver::Whole) whose content `read` puts straight into the frame,
    /// so that a file is copied once on its way out of the page cache. `read` must append exactly `len` bytes and
    /// return their hash and the file's modification time. If it fails, the frame is as it was.
    ///
    /// # Errors
    /// The error of `read`, or [`WireError::TooLarge`].
    pub fn whole<E>(
        &mut self,
        file: FileId,
        len: usize,
        read: impl FnOnce(&mut Vec<u8>) -> Result<(HashBytes, Option<Time>), E>,
    ) -> Result<(), WholeError<E>> {
        let before = self.buffer.len();
        let bytes = self.len() + len + WHOLE_OVERHEAD_BYTES;
        if bytes > MAX_FRAME_BYTES {
            return Err(WholeError::Wire(WireError::TooLarge { bytes, limit: MAX_FRAME_BYTES }));
        }
        // Postcard writes a variant's number, then the fields in order, a byte string as its length and its bytes.
        // A test holds this against the derived encoding.
        self.push(&(WHOLE_VARIANT, file, len)).map_err(WholeError::Wire)?;
        self.buffer.reserve(len + WHOLE_OVERHEAD_BYTES);
        let start = self.buffer.len();
        match read(&mut self.buffer) {
            Ok(rest) if self.buffer.len() == start + len => self.push(&rest).map_err(WholeError::Wire),
            Ok(_) => {
                self.buffer.truncate(before);
                Err(WholeError::Length)
            }
            Err(error) => {
                self.buffer.truncate(before);
                Err(WholeError::Read(error))
            }
        }
    }

    /// Closes the frame and gives its bytes as they go onto the stream. With a compressor the payload is
    /// compressed, unless that would not make it smaller.
    ///
    /// # Errors
    /// When the compressor fails.
    pub fn seal(self, compressor: Option<&mut Compressor>) -> Result<Vec<u8>, WireError> {
        let Self { class, mut buffer } = self;
        let raw_len = buffer.len() - HEADER_BYTES;
        if let Some(compressor) = compressor
            && let Some(mut packed) = compressor.compress(&buffer[HEADER_BYTES..], HEADER_BYTES)?
        {
            write_header(&mut packed, class, true, raw_len);
            return Ok(packed);
        }
        write_header(&mut buffer, class, false, raw_len);
        Ok(buffer)
    }
}
