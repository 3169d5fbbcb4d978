//! The bytes of a connection, for either end of it: the stream below SSH, the channels on it as blocking streams, and
//! the word that it is gone. Knows neither hosts nor keys.

mod lost;
mod park;
mod pipe;
mod transport;

pub(crate) use self::lost::Lost;
pub(crate) use self::park::block_on;
pub use self::pipe::ExitStatus;
pub(crate) use self::pipe::{PipeReader, PipeWriter, Shared, Stream, pump};
pub(crate) use self::transport::{Meter, Transport};
