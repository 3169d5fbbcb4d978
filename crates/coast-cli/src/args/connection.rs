//! Options about the remote helper that several subcommands share.

use std::num::NonZeroU8;

use clap::{Args, ValueEnum};
use coast_sync::{Own, StreamCount};

/// Whether the helper runs as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SudoArg {
    /// As root if `sudo -n` works, otherwise, with a notice, as the user who logged in
    Auto,
    /// As root; fail if `sudo -n` does not work
    Always,
    /// As the user who logged in
    Never,
}

/// Which entries are given to the user who logs in, of those that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OwnArg {
    /// Every entry of the destination
    All,
    /// Those that belong to root
    Root,
    /// None: only entries that are sent are given to the user
    None,
}

impl From<OwnArg> for Own {
    fn from(own: OwnArg) -> Self {
        match own {
            OwnArg::All => Self::All,
            OwnArg::Root => Self::Root,
            OwnArg::None => Self::None,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HelperArgs {
    /// Use the helper that is installed at this path of the remote, and upload none
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(crate) helper: Option<std::path::PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StreamsArg {
    /// How many SSH channels of the connection carry the data, from 1 to 8. One channel carries at most 2 MiB in a round trip, so over a
    /// long fast link several are faster. With `auto` there is one, and eight as soon as it turns out to be too few. A server that
    /// allows fewer (MaxSessions) leaves the run with those that it allows. Over a connection of coastd there is one
    #[arg(long, value_name = "auto|N", default_value = "auto", value_parser = parse_streams, help_heading = "Connection")]
    pub(crate) streams: StreamCount,
}

fn parse_streams(text: &str) -> Result<StreamCount, String> {
    match text.parse() {
        Ok(count @ 1..=8) => Ok(NonZeroU8::new(count).map_or(StreamCount::Auto, StreamCount::Exactly)),
        Err(_) if text == "auto" => Ok(StreamCount::Auto),
        Ok(_) | Err(_) => Err("give auto, or a number from 1 to 8".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_automatic_or_from_one_to_eight() {
        assert_eq!(parse_streams("auto"), Ok(StreamCount::Auto));
        for count in 1..=8 {
            let exactly = StreamCount::Exactly(NonZeroU8::new(count).unwrap());
            assert_eq!(parse_streams(&count.to_string()), Ok(exactly));
        }
        for wrong in ["", "0", "9", "-1", "Auto", "all", "256"] {
            assert!(parse_streams(wrong).is_err(), "{wrong:?}");
        }
    }
}
