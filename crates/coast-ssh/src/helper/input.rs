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

/// The standard input of a helper, which takes bytes before the helper is started. Dropping it ends the stream.
///
/// Only a helper of this program's own version may be written to before it has greeted: another one could misunderstand what it reads.
pub struct HelperInput {
    input: Arc<Input>,
    /// The way to the helper, once this has learnt that the helper has greeted.
    greeted: Option<ChannelWriter>,
}

/// Where a helper gets its [`HelperInput`] from. Once it is dropped without a greeting, the input takes no more bytes.
pub struct InputSource {
    input: Arc<Input>,
}

/// What both ends share.
struct Input {
    /// No other lock is taken while it is held.
    phase: Mutex<Phase>,
    /// Is notified when a write may go on that waits.
    changed: Condvar,
}

enum Phase {
    Waiting {
        /// Attempts to start the helper so far.
        attempts: usize,
        way: Way,
        /// All that was written.
        written: Vec<u8>,
    },
    Greeted {
        attempts: usize,
        way: Way,
    },
    /// The helper will not greet, or nobody writes any more.
    Over,
}

/// The way to an attempt to start the helper.
enum Way {
    /// No attempt has begun, or the last one has ended.
    None,
    Free(ChannelWriter),
    /// Somebody writes to it, without the lock: a write may take as long as the helper does not read.
    InUse,
}

impl Way {
    fn take(&mut self) -> Option<ChannelWriter> {
        match std::mem::replace(self, Way::InUse) {
            Way::Free(writer) => Some(writer),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What becomes of bytes that are to be written.
enum Begun {
    /// They are kept, and this attempt gets them by this way.
    Early(usize, ChannelWriter),
    /// They are kept for the next attempt.
    Kept,
    Greeted(ChannelWriter),
    Over,
}

impl Input {
    /// Keeps a copy of `data` and answers what to do with it. Waits for the greeting when no more is kept.
    fn begin_write(&self, data: &[u8]) -> Begun {
        let mut phase = self.enter();
        loop {
            match &mut *phase {
                Phase::Waiting { attempts, way, written }
                    if written.len() + data.len() <= MAX_EARLY_BYTES =>
                {
                    let early = way.take().map(|writer| Begun::Early(*attempts, writer));
                    let kept = early.or_else(|| matches!(way, Way::None).then_some(Begun::Kept));
                    if let Some(begun) = kept {
                        written.extend_from_slice(data);
                        return begun;
                    }
                }
                Phase::Waiting { .. } => {}
                Phase::Greeted { way, .. } => match way.take() {
                    Some(writer) => return Begun::Greeted(writer),
                    None if matches!(way, Way::None) => return Begun::Over,
                    None => {}
                },
                Phase::Over => return Begun::Over,
            }
            phase = self.changed.wait(phase).even_poisoned();
        }
    }

    /// Takes back the way to an attempt, unless that is over.
    fn end_write(&self, attempt: usize, writer: ChannelWriter) {
        match &mut *self.enter() {
            Phase::Waiting { attempts, way: way @ Way::InUse, .. }
            | Phase::Greeted { attempts, way: way @ Way::InUse }
                if *attempts == attempt =>
            {
                *way = Way::Free(writer);
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
    /// Begins an attempt, which gets all that was written so far. Does not wait until the server takes it.
    pub(crate) fn begin_attempt(&self, mut writer: ChannelWriter) {
        let (attempt, copy) = {
            let mut phase = self.input.enter();
            let Phase::Waiting { attempts, way, written } = &mut *phase else { return };
            *attempts += 1;
            *way = Way::InUse;
            (*attempts, written.clone())
        };
        if copy.is_empty() {
            self.input.end_write(attempt, writer);
            return;
        }
        let input = Arc::clone(&self.input);
        thread::spawn(move || {
            // An attempt whose input fails ends without a greeting, and tells why.
            let _ = writer.write_all(&copy).and_then(|()| writer.flush());
            input.end_write(attempt, writer);
        });
    }

    /// Ends the stream to an attempt that has ended.
    pub(crate) fn end_attempt(&self) {
        let mut ended = Way::None;
        if let Phase::Waiting { way, .. } = &mut *self.input.enter() {
            std::mem::swap(way, &mut ended);
            self.input.changed.notify_all();
        }
        // Without the lock, as in `Input::end`.
        drop(ended);
    }

    /// The helper has greeted: from now on nothing is kept.
    pub(crate) fn greeted(&self) {
        let mut phase = self.input.enter();
        if let Phase::Waiting { attempts, way, .. } = &mut *phase {
            *phase = Phase::Greeted { attempts: *attempts, way: std::mem::replace(way, Way::None) };
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
    pub fn new() -> (HelperInput, InputSource) {
        let phase = Phase::Waiting { attempts: 0, way: Way::None, written: Vec::new() };
        let input = Arc::new(Input { phase: Mutex::new(phase), changed: Condvar::new() });
        (HelperInput { input: Arc::clone(&input), greeted: None }, InputSource { input })
    }

    /// The way to a helper that has greeted, if nothing was written before.
    pub(crate) fn into_greeted(self) -> Option<ChannelWriter> {
        match std::mem::replace(&mut *self.input.enter(), Phase::Over) {
            Phase::Greeted { way: Way::Free(writer), .. } => Some(writer),
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
            Begun::Early(attempt, mut writer) => {
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
