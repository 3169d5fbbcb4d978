//! A signal that asks the bench to end, noticed between steps and while a program runs.
//! The steps then return an error, and what they made is taken away on the way out.

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a signal has arrived.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over the signals by which people and systems end a program.
    pub(crate) fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("listening for signals")?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once a signal has arrived.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.is_raised(), "interrupted");
        Ok(())
    }
}
