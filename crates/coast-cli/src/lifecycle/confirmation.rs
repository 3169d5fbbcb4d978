//! Questions before something that cannot be undone.

use coast_sync::Cancel;

use super::refuse_with;
use crate::exit_code::{INTERRUPTED, NOT_CONFIRMED};
use crate::output::{Form, Terminal, shown};

/// A question to the user that is answered with yes or no.
pub(super) struct Confirmation<'a> {
    /// The question, without a question mark.
    pub(super) question: &'a str,
    /// What is said where the answer is no: that nothing was done.
    pub(super) refused: &'a str,
    /// What is said where nobody can be asked: with which option to confirm.
    pub(super) nobody: &'a str,
}

impl Confirmation<'_> {
    /// Asks. If the answer is not yes, that is printed, and the exit code returned.
    pub(super) fn ask(&self, cancel: &Cancel, form: Form) -> Result<(), u8> {
        let json = form == Form::Json;
        let question = shown(&format!("{} (yes/no)? ", self.question));
        let answer = if json { None } else { Terminal::new(cancel).ask(&question) };
        match answer.as_deref().map(str::trim) {
            Some("yes" | "y") => Ok(()),
            Some(_) => Err(refuse_with(self.refused, NOT_CONFIRMED, json)),
            None if cancel.is_cancelled() => {
                Err(refuse_with(&format!("interrupted; {}", self.refused), INTERRUPTED, json))
            }
            None => Err(refuse_with(self.nobody, NOT_CONFIRMED, json)),
        }
    }
}
