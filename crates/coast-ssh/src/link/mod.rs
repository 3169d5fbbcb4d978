//! The bytes of a connection: the stream below SSH, the channels as blocking streams, and the notice that the connection is
//! lost. Knows neither hosts nor keys.

mod frame;
mod lost;
mod park;
mod pipe;
mod quick_ack;
mod transport;

pub(crate) use self::frame::{Frame, FrameReader, MAX_PAYLOAD_BYTES, write_frame};
pub(crate) use self::lost::Lost;
pub(crate) use self::park::block_on;
pub use self::pipe::ExitStatus;
pub(crate) use self::pipe::{Arrived, Output, PipeReader, PipeWriter, Shared, lost_error, pump};
pub(crate) use self::quick_ack::QuickAckStream;
pub(crate) use self::transport::{Meter, Transport};
