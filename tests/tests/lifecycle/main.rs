//! The lifecycle of instances: `run`, `assign`, `stop`, `start`, `rm` and what happens in between, with a real Docker engine,
//! a real sshd, and mutagen (see `coast_tests::Mutagen` for which one).

mod assigning;
mod coastfile;
mod ending;
mod fallback;
mod following;
mod foreign;
mod gap;
mod killed;
mod remotes;
mod showing;
mod stale;
