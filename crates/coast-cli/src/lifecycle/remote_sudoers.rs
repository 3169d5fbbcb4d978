//! `coast remote sudoers`: prints the lines of sudoers for the account of a remote.

use coast_instance::{Places, Remotes};
use coast_sync::AccountRequest;

use super::remote_checks::chosen;
use super::{println_json, refuse_with, remote_helper};
use crate::args::remote::TestArgs;
use crate::exit_code::UNUSABLE;
use crate::output::{Form, Lines, OutputOptions, narrator};
use crate::signals::cancelled_by_signals;

/// `coast remote sudoers`
pub(super) fn sudoers(places: &Places, args: &TestArgs) -> anyhow::Result<u8> {
    let remotes = Remotes::load(places);
    let remotes = remotes.as_ref().map_err(ToString::to_string);
    let (name, remote) = match remotes.and_then(|remotes| chosen(remotes, args.name.as_ref(), "sudoers")) {
        Ok(chosen) => chosen,
        Err(text) => return Ok(refuse_with(&text, UNUSABLE, args.json)),
    };
    let cancel = cancelled_by_signals()?;
    let narrator = narrator(OutputOptions::for_questions(Form::of(args.json)), &cancel);
    let destination = remote.destination(&remote.service_home, remote_helper(Some(&args.helper))?);
    let account = match AccountRequest::new(destination).run(&*narrator, &cancel) {
        Ok(account) => account,
        Err(error) => {
            let text = format!("cannot ask {name} ({}) for its account: {error}", remote.address());
            return Ok(refuse_with(&text, error.exit_code(), args.json));
        }
    };
    let text = match coast_instance::sudoers(remote, &account) {
        Ok(text) => text,
        Err(error) => return Ok(refuse_with(&error.to_string(), UNUSABLE, args.json)),
    };
    if args.json {
        println_json(&serde_json::json!({ "remote": name, "user": account.user, "sudoers": text }));
        return Ok(0);
    }
    let lines = Lines::new();
    text.lines().for_each(|line| lines.print(line));
    lines.flush();
    Ok(0)
}
