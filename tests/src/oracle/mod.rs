//! The oracle: a [`Case`] is two trees and the options of one run, real rsync says what must become of them, and a
//! [`Subject`] has to leave the same. [`cases`] makes random ones.

mod case;
mod generate;
mod rules;

pub use case::{Case, Subject};
pub use generate::cases;
