//! `coast init`.

use coast_instance::{Draft, LifecycleError};

use super::{here, refuse};
use crate::args::init::InitArgs;
use crate::output::{Lines, Shown};

/// `coast init`
pub(crate) fn init(args: &InitArgs) -> anyhow::Result<u8> {
    let made = || -> Result<String, LifecycleError> {
        let draft = Draft::of(&here()?)?;
        if args.print {
            return Ok(draft.text.trim_end().to_owned());
        }
        let file = draft.write()?;
        Ok(format!(
            "{} is written; read it, and make an instance with: coast run INSTANCE",
            Shown(file.as_os_str().as_encoded_bytes())
        ))
    };
    match made() {
        Ok(text) => {
            let lines = Lines::new();
            lines.print(&text);
            lines.flush();
            Ok(0)
        }
        Err(error) => Ok(refuse(&error, false)),
    }
}
