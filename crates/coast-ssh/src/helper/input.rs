//! The input of a helper that may not have greeted yet. A writer that does not wait for the greeting works while the connection is made
//! and the helper starts. Its bytes leave as soon as the server grants a window; OpenSSH does so when it runs the command.
//!
//! What is written goes to the helper as soon as one is started, and a copy is kept until the greeting arrives. If the host turns out
//! not to have the helper, the helper is uploaded and started again, and gets the copy. The start script and `sudo -n` read nothing
//! of it.

use crate::session::ChannelWriter;
use coast_tree::{LockExt, LockResultExt};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

/// The most that is written before the greeting, in bytes: enough for the first directories of any tree. It is less than the window
/// of an SSH channel, so a writer that is measured fills the window only after the greeting.
const MAX_EARLY_BYTES: usize = 512 << 10;

/// The standard input of a helper. It takes up to 512 KiB before the helper has greeted; then a write waits for the greeting. A write
/// fails with [`ErrorKind::BrokenPipe`] when the helper will not greet. Dropping it ends the stream; if that
/// happens before the greeting, what was written is lost.
///
/// Only a helper of this program's own version may be written to before it has greeted: another one could misunderstand what it reads.
pub struct HelperInput {
    input: Arc<Input>,
    /// The way to the helper, once this has learnt that the helper has greeted.
    greeted: Option<ChannelWriter>,
}

/// The end of a [`HelperInput`] that is given to a helper. If it is dropped before the greeting, every later write fails.
pub struct InputSource {
    input: Arc<Input>,
}

/// What both ends share.
struct Input {
    /// No other lock is taken while it is held.
    phase: Mutex<Phase>,
    /// Is notified when a waiting write may continue.
    changed: Condvar,
}

enum Phase {
    Waiting {
        /// The number of the last attempt to start the helper. Who gives back the input of another one gives back that of an attempt that
        /// has ended, and it is dropped.
        attempts: usize,
        input: AttemptInput,
        /// All that was written.
        written: Vec<u8>,
    },
    Greeted {
        attempts: usize,
        input: AttemptInput,
    },
    /// The helper will not greet, or nobody writes any more.
    Over,
}

/// The input of an attempt to start the helper.
enum AttemptInput {
    /// No attempt has begun, or the last one has ended.
    None,
    Free(ChannelWriter),
    /// Somebody writes to it, without the lock: a write may take as long as the helper does not read.
    InUse,
}

impl AttemptInput {
    fn take(&mut self) -> Option<ChannelWriter> {
        match std::mem::replace(self, AttemptInput::InUse) {
            AttemptInput::Free(writer) => Some(writer),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What becomes of bytes that are to be written.
enum Begun {
    /// They are kept, and go to the attempt of this number as well.
    Early {
        attempt: usize,
        writer: ChannelWriter,
    },
    /// They are kept for the next attempt.
    Kept,
    Greeted(ChannelWriter),
    Over,
}

impl Input {
    /// Keeps a copy of `data` and answers where it goes. Waits for the greeting if the copy would exceed [`MAX_EARLY_BYTES`], and while
    /// another thread writes to the attempt.
    fn begin_write(&self, data: &[u8]) -> Begun {
        let mut phase = self.enter();
        loop {
            match &mut *phase {
                Phase::Waiting { attempts, input, written }
                    if written.len() + data.len() <= MAX_EARLY_BYTES =>
                {
                    let early = input.take().map(|writer| Begun::Early { attempt: *attempts, writer });
                    let kept = early.or_else(|| matches!(input, AttemptInput::None).then_some(Begun::Kept));
                    if let Some(begun) = kept {
                        written.extend_from_slice(data);
                        return begun;
                    }
                }
                Phase::Waiting { .. } => {}
                Phase::Greeted { input, .. } => match input.take() {
                    Some(writer) => return Begun::Greeted(writer),
                    None if matches!(input, AttemptInput::None) => return Begun::Over,
                    None => {}
                },
                Phase::Over => return Begun::Over,
            }
            phase = self.changed.wait(phase).even_poisoned();
        }
    }

    /// Takes back the input of an attempt, unless that is over.
    fn end_write(&self, attempt: usize, writer: ChannelWriter) {
        match &mut *self.enter() {
            Phase::Waiting { attempts, input: input @ AttemptInput::InUse, .. }
            | Phase::Greeted { attempts, input: input @ AttemptInput::InUse }
                if *attempts == attempt =>
            {
                *input = AttemptInput::Free(writer);
                self.changed.notify_all();
            }
            Phase::Waiting { .. } | Phase::Greeted { .. } | Phase::Over => {}
        }
    }

    fn end(&self) {
        let last = std::mem::replace(&mut *self.enter(), Phase::Over);
        self.changed.notify_all();
        // Without the lock: to end a stream may take as long as the server takes no bytes.
        drop(last);
    }

    fn enter(&self) -> MutexGuard<'_, Phase> {
        self.phase.enter()
    }
}

impl InputSource {
    /// Begins an attempt, which gets all that was written so far.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub(crate) fn begin_attempt(&self, mut writer: ChannelWriter) -> io::Result<()> {
        let (attempt, copy) = {
            let mut phase = self.input.enter();
            let Phase::Waiting { attempts, input, written } = &mut *phase else { return Ok(()) };
            *attempts += 1;
            *input = AttemptInput::InUse;
            (*attempts, written.clone())
        };
        if copy.is_empty() {
            self.input.end_write(attempt, writer);
            return Ok(());
        }
        let input = Arc::clone(&self.input);
        // In a thread of its own: a server that takes no bytes must not keep the caller from reading why the attempt failed.
        let feeding = thread::Builder::new().name("coast-input".to_owned()).spawn(move || {
            // An attempt whose input fails ends without a greeting, and tells why.
            let _ = writer.write_all(&copy).and_then(|()| writer.flush());
            input.end_write(attempt, writer);
        });
        feeding.map(drop)
    }

    /// Ends the stream to an attempt that has ended.
    pub(crate) fn end_attempt(&self) {
        let mut ended = AttemptInput::None;
        if let Phase::Waiting { input, .. } = &mut *self.input.enter() {
            std::mem::swap(input, &mut ended);
            self.input.changed.notify_all();
        }
        // Without the lock, as in `Input::end`.
        drop(ended);
    }

    /// The helper has greeted: from now on nothing is kept.
    pub(crate) fn greeted(&self) {
        let mut phase = self.input.enter();
        if let Phase::Waiting { attempts, input, .. } = &mut *phase {
            *phase =
                Phase::Greeted { attempts: *attempts, input: std::mem::replace(input, AttemptInput::None) };
        }
        self.input.changed.notify_all();
    }

    /// Whether something was written that the helper may not have got.
    pub(crate) fn has_early_bytes(&self) -> bool {
        matches!(&*self.input.enter(), Phase::Waiting { written, .. } if !written.is_empty())
    }
}

impl Drop for InputSource {
    fn drop(&mut self) {
        if !matches!(&*self.input.enter(), Phase::Greeted { .. }) {
            self.input.end();
        }
    }
}

impl HelperInput {
    /// An input, and its other end for [`Session::begin_helper`](crate::Session::begin_helper).
    pub fn pair() -> (HelperInput, InputSource) {
        let phase = Phase::Waiting { attempts: 0, input: AttemptInput::None, written: Vec::new() };
        let input = Arc::new(Input { phase: Mutex::new(phase), changed: Condvar::new() });
        (HelperInput { input: Arc::clone(&input), greeted: None }, InputSource { input })
    }

    /// The input of a helper that has greeted, if nothing was written before.
    pub(crate) fn into_greeted(self) -> Option<ChannelWriter> {
        match std::mem::replace(&mut *self.input.enter(), Phase::Over) {
            Phase::Greeted { input: AttemptInput::Free(writer), .. } => Some(writer),
            _ => None,
        }
    }

    /// Writes `data` with `write`, and answers whether the helper has not greeted yet. If it has, nothing is written.
    ///
    /// A write that fails is none of the caller's concern: the attempt ends and tells why, and the next one gets the copy.
    fn write_early(&mut self, data: &[u8], write: impl FnOnce(&mut ChannelWriter)) -> io::Result<bool> {
        if self.greeted.is_some() {
            return Ok(false);
        }
        match self.input.begin_write(data) {
            Begun::Early { attempt, mut writer } => {
                write(&mut writer);
                self.input.end_write(attempt, writer);
                Ok(true)
            }
            Begun::Kept => Ok(true),
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
        self.input.end();
    }
}
