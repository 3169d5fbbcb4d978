//! The input of a helper that may not have greeted yet. A writer that does not wait for the greeting works while the helper starts.
//! Its bytes leave as soon as the server grants a window; OpenSSH does so when it runs the command.
//!
//! What is written goes to the helper at once, and a copy is kept until the greeting arrives. If the host turns out not to have the
//! helper, the helper is uploaded and started again, and gets the copy. The start script and `sudo -n` read nothing of it.

use crate::session::ChannelWriter;
use coast_tree::{LockExt, LockResultExt};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The most that is written before the greeting, in bytes: enough for the first directories of any tree. It is less than the window
/// of an SSH channel, so a writer that is measured fills the window only after the greeting.
const MAX_EARLY_BYTES: usize = 512 << 10;

/// The standard input of a helper that was started. Dropping it ends the stream.
pub struct HelperInput {
    input: Arc<Input>,
    /// The way to the helper, once this has learnt that the helper has greeted.
    greeted: Option<ChannelWriter>,
}

/// What [`HelperInput`] shares with the side that waits for the greeting.
pub(crate) struct Input {
    /// No other lock is taken while it is held.
    phase: Mutex<Phase>,
    /// Is notified when the greeting has arrived, or will not.
    decided: Condvar,
}

enum Phase {
    Waiting {
        attempt: AttemptInput,
        /// All that was written.
        written: Vec<u8>,
    },
    Greeted(AttemptInput),
    /// The helper will not greet, or nobody writes any more.
    Over,
}

/// The way to an attempt to start the helper.
enum AttemptInput {
    Free(ChannelWriter),
    /// [`HelperInput`] writes to it, without the lock: a write may take as long as the helper does not read.
    InUse,
    /// The attempt has ended, and the next one has not begun.
    Ended,
}

impl Input {
    pub(crate) fn new(writer: ChannelWriter) -> Arc<Input> {
        let phase = Phase::Waiting { attempt: AttemptInput::Free(writer), written: Vec::new() };
        Arc::new(Input { phase: Mutex::new(phase), decided: Condvar::new() })
    }

    /// Ends the stream to an attempt that has ended.
    pub(crate) fn end_attempt(&self) {
        if let Phase::Waiting { attempt, .. } = &mut *self.enter() {
            *attempt = AttemptInput::Ended;
        }
    }

    /// Goes on with another attempt, to which all is written that the last one got.
    pub(crate) fn restart(&self, mut next: ChannelWriter) {
        if let Phase::Waiting { attempt, written } = &mut *self.enter() {
            // An attempt whose input fails ends without a greeting, and tells why.
            let _ = next.write_all(written).and_then(|()| next.flush());
            *attempt = AttemptInput::Free(next);
        }
    }

    /// The helper has greeted: from now on nothing is kept.
    pub(crate) fn greeted(&self) {
        let mut phase = self.enter();
        if let Phase::Waiting { attempt, .. } = &mut *phase {
            *phase = Phase::Greeted(std::mem::replace(attempt, AttemptInput::Ended));
        }
        self.decided.notify_all();
    }

    /// The helper will not greet.
    pub(crate) fn give_up(&self) {
        let last = std::mem::replace(&mut *self.enter(), Phase::Over);
        self.decided.notify_all();
        // Without the lock: to end a stream may take as long as the server takes no bytes.
        drop(last);
    }

    /// Whether something was written that the helper may not have got.
    pub(crate) fn has_early_bytes(&self) -> bool {
        matches!(&*self.enter(), Phase::Waiting { written, .. } if !written.is_empty())
    }

    /// The way to a helper that has greeted, for an owner who has written nothing before.
    pub(crate) fn take_greeted(&self) -> Option<ChannelWriter> {
        match std::mem::replace(&mut *self.enter(), Phase::Over) {
            Phase::Greeted(AttemptInput::Free(writer)) => Some(writer),
            _ => None,
        }
    }

    /// Keeps a copy of `data` and answers the way to write it to, or waits until the helper has greeted.
    fn begin_write(&self, data: &[u8]) -> Begun {
        let mut phase = self.enter();
        loop {
            match &mut *phase {
                Phase::Waiting { attempt, written } if written.len() + data.len() <= MAX_EARLY_BYTES => {
                    match std::mem::replace(attempt, AttemptInput::InUse) {
                        AttemptInput::Free(writer) => {
                            written.extend_from_slice(data);
                            return Begun::Early(writer);
                        }
                        other => *attempt = other,
                    }
                }
                Phase::Waiting { .. } => {}
                Phase::Greeted(way) => {
                    return match std::mem::replace(way, AttemptInput::InUse) {
                        AttemptInput::Free(writer) => Begun::Greeted(writer),
                        AttemptInput::InUse | AttemptInput::Ended => Begun::Over,
                    };
                }
                Phase::Over => return Begun::Over,
            }
            phase = self.decided.wait(phase).even_poisoned();
        }
    }

    /// Takes back a way that [`Input::begin_write`] has given out, unless its attempt is over.
    fn end_write(&self, writer: ChannelWriter) {
        match &mut *self.enter() {
            Phase::Waiting { attempt: way @ AttemptInput::InUse, .. }
            | Phase::Greeted(way @ AttemptInput::InUse) => {
                *way = AttemptInput::Free(writer);
            }
            Phase::Waiting { .. } | Phase::Greeted(_) | Phase::Over => {}
        }
    }

    fn enter(&self) -> MutexGuard<'_, Phase> {
        self.phase.enter()
    }
}

enum Begun {
    /// The way to a helper that has not greeted.
    Early(ChannelWriter),
    Greeted(ChannelWriter),
    Over,
}

impl HelperInput {
    pub(crate) fn new(input: Arc<Input>) -> HelperInput {
        HelperInput { input, greeted: None }
    }

    /// Writes `data` with `write`, and answers whether the helper has not greeted yet. If it has, nothing is written.
    ///
    /// A write that fails is none of the caller's concern: the attempt ends and tells why, and the next one gets the copy.
    fn write_early(&mut self, data: &[u8], write: impl FnOnce(&mut ChannelWriter)) -> io::Result<bool> {
        if self.greeted.is_some() {
            return Ok(false);
        }
        match self.input.begin_write(data) {
            Begun::Early(mut writer) => {
                write(&mut writer);
                self.input.end_write(writer);
                Ok(true)
            }
            Begun::Greeted(writer) => {
                self.greeted = Some(writer);
                Ok(false)
            }
            Begun::Over => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn greeted(&mut self) -> io::Result<&mut ChannelWriter> {
        self.greeted.as_mut().ok_or_else(|| ErrorKind::BrokenPipe.into())
    }
}

impl Write for HelperInput {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let early = self.write_early(data, |writer| {
            let _ = writer.write_all(data);
        })?;
        if early { Ok(data.len()) } else { self.greeted()?.write(data) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let early = self.write_early(&[], |writer| {
            let _ = writer.flush();
        })?;
        if early { Ok(()) } else { self.greeted()?.flush() }
    }
}

impl Drop for HelperInput {
    fn drop(&mut self) {
        self.input.give_up();
    }
}
