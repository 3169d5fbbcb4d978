//! More streams for a run: other helpers, each on a channel of its own, hand their standard input over to the helper that receives.
//!
//! They meet at an abstract socket with a random name. Everybody on the machine can see the name and connect, so both sides ask the
//! kernel who the other one is. The receiving helper takes streams from its own user and from the user who started it with sudo, who
//! decides what it receives anyway. A joining helper gives its stream to its own user and to root. A name that somebody else has
//! taken, and whatever else fails here, leaves the run with the streams that it has.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use coast_wire::limits::MAX_STREAMS;
use rustix::fs::{FileType, fstat};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Uid, geteuid};

use crate::arguments::RunName;

/// How long the receiving helper waits for a helper that has connected. A joining helper sends before anything else.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a joining helper waits for the receiving one, which may be busy with what it has received.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that are looked at before the receiving helper reads on. A flood of them must not keep it from its work.
const ADMITTED_AT_ONCE: usize = 16;

/// The streams that have joined a run, and the place where more may join.
pub(crate) struct Joining {
    listener: Option<UnixListener>,
    /// The user who started this helper with sudo.
    login: Option<Uid>,
    joined: [Option<Joined>; MAX_STREAMS as usize],
}

struct Joined {
    input: File,
    /// The helper at the other end ends when this is closed, and with it the channel.
    _helper: UnixStream,
}

impl Joining {
    /// Lets streams join the run `name`. Without a name, or where it is taken, none can join.
    pub(crate) fn new(name: Option<&RunName>, login: Option<u32>) -> Self {
        let listener = name.and_then(|name| {
            let listener = UnixListener::bind_addr(&address(name).ok()?).ok()?;
            listener.set_nonblocking(true).ok()?;
            Some(listener)
        });
        Self { listener, login: login.map(Uid::from_raw), joined: [const { None }; MAX_STREAMS as usize] }
    }

    /// Is readable when a helper wants to join.
    pub(crate) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Admits the helpers that wait.
    pub(crate) fn admit(&mut self) {
        for _ in 0..ADMITTED_AT_ONCE {
            match self.listener.as_ref().map(UnixListener::accept) {
                Some(Ok((helper, _))) => {
                    // One that cannot join ends, and tells its own client.
                    let _ = self.admit_one(helper);
                }
                Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    fn admit_one(&mut self, mut helper: UnixStream) -> io::Result<()> {
        let user = socket_peercred(&helper)?.uid;
        if user != geteuid() && Some(user) != self.login {
            return Err(ErrorKind::PermissionDenied.into());
        }
        helper.set_read_timeout(Some(HANDOVER_TIMEOUT))?;
        helper.set_write_timeout(Some(HANDOVER_TIMEOUT))?;
        let (number, input) = receive_stream(&helper)?;
        let place = self.joined.get_mut(usize::from(number)).filter(|place| number > 0 && place.is_none());
        let place = place.ok_or(ErrorKind::InvalidInput)?;
        helper.write_all(&[number])?;
        *place = Some(Joined { input: File::from(input), _helper: helper });
        Ok(())
    }

    /// The stream that has joined with this number.
    pub(crate) fn stream(&self, number: u8) -> Option<&File> {
        self.joined.get(usize::from(number))?.as_ref().map(|joined| &joined.input)
    }

    /// No stream joins any more.
    pub(crate) fn close(&mut self) {
        self.listener = None;
    }
}

/// Hands standard input over to the helper that carries out the run `name`, as its stream `number`. Calls `joined` when that helper has
/// it, and returns when it ends.
///
/// # Errors
/// When that helper is not there, belongs to somebody else, or does not take the stream.
pub(crate) fn join(name: &RunName, number: u8, joined: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut receiver = UnixStream::connect_addr(&address(name)?)?;
    let user = socket_peercred(&receiver)?.uid;
    if user != geteuid() && !user.is_root() {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "another user has taken the name of the run",
        ));
    }
    receiver.set_read_timeout(Some(ADMISSION_TIMEOUT))?;
    send_stream(&receiver, number, io::stdin().as_fd())?;
    receiver.read_exact(&mut [0])?;
    receiver.set_read_timeout(None)?;
    joined()?;
    // The receiving helper sends nothing more. A connection that is reset has ended, too.
    let _ = receiver.read(&mut [0]);
    Ok(())
}

fn address(name: &RunName) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("coast-run-{name}"))
}

fn send_stream(to: &UnixStream, number: u8, stream: BorrowedFd<'_>) -> io::Result<()> {
    let streams = [stream];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&streams));
    sendmsg(to, &[IoSlice::new(&[number])], &mut control, SendFlags::empty())?;
    Ok(())
}

fn receive_stream(from: &UnixStream) -> io::Result<(u8, OwnedFd)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut number = [0];
    let received = recvmsg(from, &mut [IoSliceMut::new(&mut number)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut streams = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(streams) => Some(streams),
        _ => None,
    });
    match streams.next().and_then(|mut streams| streams.next()) {
        Some(stream) if received.bytes == 1 && is_pipe(&stream)? => Ok((number[0], stream)),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// Whether it is what a server makes for a command. Other files may say that they can be read, and then not answer.
fn is_pipe(stream: &OwnedFd) -> io::Result<bool> {
    let kind = FileType::from_raw_mode(fstat(stream)?.st_mode);
    Ok(matches!(kind, FileType::Fifo | FileType::Socket))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    /// A name that no other run on this machine has.
    fn run_name() -> RunName {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        RunName::parse(&format!("{:024x}{number:08x}", std::process::id())).unwrap()
    }

    /// Connects as a helper does, and hands over the reading end of a pipe.
    fn hand_over(name: &RunName, number: u8) -> (UnixStream, io::PipeWriter) {
        let helper = UnixStream::connect_addr(&address(name).unwrap()).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        send_stream(&helper, number, reader.as_fd()).unwrap();
        (helper, writer)
    }

    #[test]
    fn stream_that_was_handed_over_is_read_under_its_number() {
        let name = run_name();
        let mut joining = Joining::new(Some(&name), None);
        let (mut helper, mut writer) = hand_over(&name, 3);
        joining.admit();
        let mut answer = [0];
        helper.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [3]);
        writer.write_all(b"abc").unwrap();
        drop(writer);
        let mut read = String::new();
        joining.stream(3).unwrap().read_to_string(&mut read).unwrap();
        assert_eq!(read, "abc");
        assert!(joining.stream(2).is_none() && joining.stream(0).is_none());
        drop(joining);
        assert_eq!(helper.read(&mut [0]).unwrap(), 0, "the helper learns that the run has ended");
    }

    #[test]
    fn wrong_number_a_number_that_is_taken_and_a_missing_stream_are_refused() {
        let name = run_name();
        let mut joining = Joining::new(Some(&name), None);
        let _first = hand_over(&name, 1);
        joining.admit();
        for number in [0, 1, MAX_STREAMS, u8::MAX] {
            let (mut helper, _writer) = hand_over(&name, number);
            joining.admit();
            assert_eq!(helper.read(&mut [0]).unwrap_or(0), 0, "{number}");
        }
        let mut helper = UnixStream::connect_addr(&address(&name).unwrap()).unwrap();
        send_stream(&helper, 2, File::open("/dev/null").unwrap().as_fd()).unwrap();
        joining.admit();
        assert_eq!(helper.read(&mut [0]).unwrap_or(0), 0, "no pipe");
        let mut helper = UnixStream::connect_addr(&address(&name).unwrap()).unwrap();
        helper.write_all(&[2]).unwrap();
        joining.admit();
        assert_eq!(helper.read(&mut [0]).unwrap_or(0), 0);
        assert!(joining.stream(2).is_none());
        joining.close();
        assert!(UnixStream::connect_addr(&address(&name).unwrap()).is_err());
    }

    #[test]
    fn name_that_is_taken_leaves_the_run_without_other_streams() {
        let name = run_name();
        let _taken = UnixListener::bind_addr(&address(&name).unwrap()).unwrap();
        let mut joining = Joining::new(Some(&name), None);
        assert!(joining.listener().is_none());
        joining.admit();
    }

    #[test]
    fn connection_that_says_nothing_delays_the_others_and_no_more() {
        let name = run_name();
        let mut joining = Joining::new(Some(&name), None);
        let _silent = UnixStream::connect_addr(&address(&name).unwrap()).unwrap();
        let (mut helper, _writer) = hand_over(&name, 1);
        thread::scope(|scope| {
            scope.spawn(|| joining.admit());
            helper.read_exact(&mut [0]).unwrap();
        });
    }
}
