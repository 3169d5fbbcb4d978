//! The oracle. A [`Case`] is two trees, the [`Circumstances`] and the options of a run. Real rsync runs the case, and a
//! [`Subject`] must leave the same tree. [`cases`] makes random cases, in the circumstances of a [`Setting`].

mod case;
mod circumstances;
mod generate;
mod rules;
mod setting;

pub use case::{Case, Subject};
pub use circumstances::{Circumstances, Link, Mount};
pub use generate::cases;
pub use setting::Setting;
