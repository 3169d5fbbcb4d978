//! Where a session comes from: a connection of its own, or one that is open already.

use crate::config::{ConnectOptions, Target};
use crate::error::SshError;
use crate::login::Prompt;
use crate::session::Session;
use std::fmt;

/// Makes sessions. A program that keeps connections open has a connector that hands them out.
pub trait Connector: fmt::Debug + Send + Sync {
    /// Returns a session at `target`, whose host key is checked and where the user has logged in, by the rules of
    /// [`Session::connect`].
    ///
    /// # Errors
    /// As [`Session::connect`].
    fn connect(
        &self,
        target: &Target,
        options: &ConnectOptions,
        prompt: &dyn Prompt,
    ) -> Result<Session, SshError>;
}

/// Makes a new connection for each session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Connector for Direct {
    fn connect(
        &self,
        target: &Target,
        options: &ConnectOptions,
        prompt: &dyn Prompt,
    ) -> Result<Session, SshError> {
        Session::connect(target, options, prompt)
    }
}
