//! Many runs over one stream, to a receiver that stays.

use std::io::{Read, Write};
use std::sync::Arc;

use coast_tree::RelPath;
use coast_wire::{Extent, FrameReader, ToReceiver, end_of_run};

use super::config::{SenderConfig, StagedContents};
use super::fetch::{self, FetchedEntry};
use super::report::RunReport;
use super::{Counted, Prepared, Stream, sealed};
use crate::Cancel;
use crate::error::EngineError;
use crate::monitor::Monitor;

/// The sending end of a stream that carries many runs. The other end is a [`Following`](crate::Following).
#[derive(Debug)]
pub struct FollowSender<R, W> {
    frames: FrameReader<Counted<R>>,
    writer: W,
    /// Whether both ends know where the next run begins.
    usable: bool,
    /// The contents that the last run has staged.
    staged: StagedContents,
}

impl<R: Read + Send, W: Write + Send> FollowSender<R, W> {
    /// A stream on which no run was made yet. Dropping `writer` must end the stream for the other side.
    pub fn new(reader: R, writer: W) -> Self {
        let frames = FrameReader::new(Counted { stream: reader, progress: Arc::default() });
        Self { frames, writer, usable: true, staged: StagedContents::default() }
    }

    /// Carries out one run; returns when the receiver has finished it. The extent of the run is [`SenderConfig::paths`]. The run is safe
    /// in one direction, see [`Follow`](coast_wire::Follow).
    ///
    /// # Errors
    /// When the run could not be brought to its end; see [`EngineError`]. The next run may succeed if the stream still
    /// [is usable](Self::is_usable). What single entries suffer is told to `monitor` and counted in the report.
    pub fn run(
        &mut self,
        mut config: SenderConfig,
        monitor: &dyn Monitor,
        cancel: &Cancel,
    ) -> Result<RunReport, EngineError> {
        if !self.usable {
            return Err(EngineError::Disconnected);
        }
        let extent = if config.paths.is_some() { Extent::Paths } else { Extent::Everything };
        config.some_paths = extent == Extent::Paths;
        config.staged = std::mem::take(&mut self.staged);
        config.options.follow.get_or_insert_default().extent = extent;
        let run = Prepared::new(config, monitor, cancel)?;
        self.frames.get_mut().progress = run.progress();
        let stream = Stream { frames: &mut self.frames, writer: &mut self.writer, end: Some(end_of_run()) };
        let conversed = run.converse(stream)?;
        self.usable = conversed.is_complete();
        self.staged = conversed.staged();
        conversed.report()
    }

    /// Reads the entry at a path of the destination, and writes the content of a regular file to `into`, piece by piece. The content is
    /// whole and verified only when this returns without an error.
    ///
    /// # Errors
    /// When there is no entry at the path, or one that is neither a regular file nor a symlink, or it cannot be read, or changes
    /// meanwhile, or the workspace was removed, or `into` fails. Another run can be made if the stream still
    /// [is usable](Self::is_usable).
    pub fn fetch(&mut self, path: &RelPath, into: &mut dyn Write) -> Result<FetchedEntry, EngineError> {
        if !self.usable {
            return Err(EngineError::Disconnected);
        }
        let mut request = sealed(&ToReceiver::Fetch { path: path.as_bytes() })?;
        request.extend(end_of_run());
        let asked = self.writer.write_all(&request).and_then(|()| self.writer.flush());
        // The receiver may still say why it closed the stream.
        let fetched = fetch::receive(&mut self.frames, path, into);
        let ended = matches!(
            fetched,
            Err(EngineError::Wire(_) | EngineError::Protocol(_) | EngineError::Disconnected)
        );
        self.usable = asked.is_ok() && !ended;
        fetched
    }

    /// Whether another run can be made. False after the stream has failed, or the receiver has broken the protocol.
    pub fn is_usable(&self) -> bool {
        self.usable
    }
}
