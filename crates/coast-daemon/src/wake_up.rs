//! Notices that this machine wakes up or that its network changes: then lost connections are tried again at once. Nothing is polled.

use std::io;
use std::sync::Arc;
use std::thread;

/// Calls `woken` after each wake-up and each change of the network, on a thread that lives as long as the process.
///
/// # Errors
/// When the system tells neither.
pub(crate) fn watch(woken: Arc<dyn Fn() + Send + Sync>) -> io::Result<()> {
    let sources = sources::Sources::open()?;
    thread::Builder::new().name("coastd-wake-up".to_owned()).spawn(move || {
        while sources.wait().is_ok() {
            woken();
        }
    })?;
    Ok(())
}

#[cfg(target_os = "linux")]
mod sources {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// The groups of messages about links, addresses and routes: `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`,
    /// `RTMGRP_IPV6_IFADDR` and `RTMGRP_IPV6_ROUTE` of `linux/rtnetlink.h`.
    const NETWORK: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// Changes of the network come in flocks. They are answered once, this long after the first.
    const FLOCK: Duration = Duration::from_millis(200);

    /// The kernel's clock and its network.
    pub(super) struct Sources {
        /// A timer that the kernel cancels whenever the clock jumps, as it does when the machine wakes up.
        clock: OwnedFd,
        network: OwnedFd,
    }

    impl Sources {
        pub(super) fn open() -> io::Result<Self> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let network = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&network, &SocketAddrNetlink::new(0, NETWORK))?;
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let sources = Self { clock: timerfd_create(TimerfdClockId::Realtime, flags)?, network };
            sources.set_clock()?;
            Ok(sources)
        }

        fn set_clock(&self) -> io::Result<()> {
            let never = Timespec { tv_sec: i64::MAX / 2_000_000_000, tv_nsec: 0 };
            let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
            timerfd_settime(
                &self.clock,
                TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
                &timer,
            )?;
            Ok(())
        }

        /// Waits until the clock jumped or the network changed.
        pub(super) fn wait(&self) -> io::Result<()> {
            let mut polled =
                [PollFd::new(&self.clock, PollFlags::IN), PollFd::new(&self.network, PollFlags::IN)];
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(FLOCK);
            // A message that did not fit is a change as well.
            let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
            while !matches!(recv(&self.network, &mut buffer[..], RecvFlags::empty()), Err(Errno::AGAIN)) {}
            // The kernel answers the read of a cancelled timer with an error, once.
            if rustix::io::read(&self.clock, &mut [0_u8; 8]) == Err(Errno::CANCELED) {
                self.set_clock()?;
            }
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod sources {
    use std::io;

    /// This system is not asked. Lost connections are tried again in time.
    pub(super) struct Sources;

    impl Sources {
        pub(super) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn wait(&self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_change_of_the_network_is_noticed() {
        // A network of this thread alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests run as root");
        let sources = sources::Sources::open().unwrap();
        let set = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("needs iproute2");
        assert!(set.success());
        sources.wait().unwrap();
    }
}
