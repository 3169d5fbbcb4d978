//! The lifecycle of instances: `run`, `assign`, `stop`, `start`, `rm` and the time between them, with a real Docker engine,
//! a real sshd, and mutagen (`coast_tests::Mutagen` says which one).

mod all;
mod assigning;
mod coastfile;
mod ending;
mod fallback;
mod following;
mod foreign;
mod gap;
mod images;
mod killed;
mod remotes;
mod showing;
mod stale;
