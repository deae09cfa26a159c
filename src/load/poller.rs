//! epoll with a wait that is exact to the microsecond.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::set_current_timer_slack;

/// What a connection is ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) slot: usize,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Nothing more will come, once what is there has been read.
    pub(super) hangup: bool,
}

/// Watches one thread's connections, edge-triggered: each is added once and never again.
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        const EVENTS_AT_ONCE: usize = 1024;
        // The kernel may otherwise be 50 µs late, which would count as the target's.
        set_current_timer_slack(NonZeroU64::new(1))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS_AT_ONCE),
        })
    }

    pub(super) fn add(&self, socket: impl AsFd, slot: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(slot as u64),
            flags,
        )?)
    }

    /// Waits for events, so long at most.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.events.clear();
        let found = self.wait_roughly(timeout);
        match found {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The n-th that the last wait found.
    pub(super) fn ready(&self, n: usize) -> Option<Readiness> {
        let event = self.events.get(n)?;
        let flags = event.flags;
        let hangup = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        Some(Readiness {
            slot: usize::try_from(event.data.u64()).unwrap_or(usize::MAX),
            readable: hangup || flags.contains(EventFlags::IN),
            writable: hangup || flags.contains(EventFlags::OUT),
            hangup,
        })
    }

    fn wait_roughly(&mut self, timeout: Duration) -> Result<usize, Errno> {
        const EXACT_BELOW: Duration = Duration::from_millis(5);
        let mut timeout = Timespec::try_from(timeout).map_err(|_| Errno::INVAL)?;
        if timeout < Timespec::try_from(EXACT_BELOW).map_err(|_| Errno::INVAL)? {
            // epoll_wait counts milliseconds, ppoll nanoseconds.
            if timeout != Timespec::default() {
                let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
                if poll(&mut epoll, Some(&timeout))? == 0 {
                    return Ok(0);
                }
            }
            timeout = Timespec::default();
        } else {
            timeout.tv_nsec -= timeout.tv_nsec % 1_000_000;
        }
        epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        )
    }
}
