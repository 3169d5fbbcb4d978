//! `coast remote key`: the key that is copied into the shell containers of a remote's instances.

use std::path::Path;

use coast_instance::{KeyRemoved, LifecycleError, Name, Places, Records, Remote, Remotes, SessionKey};
use coast_sync::{AuthorizedKeys, Cancel};
use serde::Serialize;

use super::{println_json, refuse, remote_helper};
use crate::args::remote::KeyArgs;
use crate::output::{Form, Lines, Narrator, OutputOptions, Shown, Weight, complain, narrator};
use crate::signals::cancelled_by_signals;

/// The keys of a remote as an object.
#[derive(Serialize)]
struct KeysObject<'a> {
    remote: &'a Name,
    /// The key that is tried first for transfers. Without it the ssh configuration and the agent decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_key: Option<SessionKeyObject<'a>>,
    /// Instances whose containers may hold another key until their next `start`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<String>,
}

#[derive(Serialize)]
struct SessionKeyObject<'a> {
    file: &'a Path,
    fingerprint: &'a str,
}

/// `coast remote key`
pub(super) fn key(places: &Places, args: &KeyArgs) -> anyhow::Result<u8> {
    let done = match (args.create, args.remove) {
        (true, _) => create(places, args)?,
        (_, true) => remove(places, args)?,
        _ => show(places, args),
    };
    Ok(match done {
        Ok(()) => 0,
        Err(error) => refuse(&error, args.json),
    })
}

fn show(places: &Places, args: &KeyArgs) -> Result<(), LifecycleError> {
    let remotes = Remotes::load(places)?;
    let (name, remote) = remotes.choose(Some(&args.name))?;
    let key = SessionKey::of(remote).map_err(|error| unreadable(name, error))?;
    tell(name, remote, key.as_ref(), Vec::new(), args.json, |lines| {
        let login = remote
            .key
            .as_ref()
            .map_or_else(|| "as the ssh configuration and the agent say".to_owned(), |key| shown(key));
        lines.print(&format!("transfers    {login}"));
        lines.print(&match &key {
            Some(key) => format!("sessions     {} ({})", shown(&key.file), key.fingerprint),
            None => format!(
                "sessions     the key that logs in; with mutagen it is copied into the shell container; a key for sessions alone: coast \
                 remote key {name} --create"
            ),
        });
    });
    Ok(())
}

fn create(places: &Places, args: &KeyArgs) -> anyhow::Result<Result<(), LifecycleError>> {
    let cancel = cancelled_by_signals()?;
    let prompt = prompt(args, &cancel);
    let helper = remote_helper(None)?;
    let created = || -> Result<(), LifecycleError> {
        let (key, authorized) = SessionKey::create(places, &args.name, helper, &*prompt, &cancel)?;
        let (remotes, users) = (Remotes::load(places)?, Records::new(places.clone()).users_of(&args.name)?);
        let remote = remotes.get(&args.name)?;
        tell(&args.name, remote, Some(&key), users.clone(), args.json, |lines| {
            let how = match authorized {
                AuthorizedKeys::Changed => "now accepts",
                AuthorizedKeys::AsWanted => "accepts",
            };
            lines.print(&format!(
                "{} {how} the key {} ({}), for commands only; sessions use it",
                args.name,
                shown(&key.file),
                key.fingerprint
            ));
            print_users(lines, &users);
        });
        Ok(())
    };
    Ok(created())
}

fn remove(places: &Places, args: &KeyArgs) -> anyhow::Result<Result<(), LifecycleError>> {
    let cancel = cancelled_by_signals()?;
    let prompt = prompt(args, &cancel);
    let helper = remote_helper(None)?;
    let removed = || -> Result<(), LifecycleError> {
        let removed = SessionKey::remove(places, &args.name, args.force, helper, &*prompt, &cancel)?;
        let (remotes, users) = (Remotes::load(places)?, Records::new(places.clone()).users_of(&args.name)?);
        let remote = remotes.get(&args.name)?;
        if let KeyRemoved::HereOnly(_, error) = &removed {
            complain(
                Weight::Warning,
                &format!(
                    "{} may still accept the key: {error}\nremove the line of `coast remote key {}` from \
                 ~/.ssh/authorized_keys there",
                    args.name, args.name
                ),
            );
        }
        tell(&args.name, remote, None, users.clone(), args.json, |lines| match removed {
            KeyRemoved::Nothing => lines.print(&format!("{} has no session key", args.name)),
            KeyRemoved::Everywhere(file) | KeyRemoved::HereOnly(file, _) => {
                lines.print(&format!(
                    "the key {} is removed; sessions use the key that logs in",
                    shown(&file)
                ));
                print_users(lines, &users);
            }
        });
        Ok(())
    };
    Ok(removed())
}

fn print_users(lines: &Lines, users: &[String]) {
    if !users.is_empty() {
        lines.print(&format!(
            "running instances change to it at their next `coast start`: {}",
            users.join(", ")
        ));
    }
}

/// Prints one object, or lines for people.
fn tell(
    name: &Name,
    remote: &Remote,
    key: Option<&SessionKey>,
    instances: Vec<String>,
    json: bool,
    print: impl FnOnce(&Lines),
) {
    if json {
        let session_key = key.map(|key| SessionKeyObject { file: &key.file, fingerprint: &key.fingerprint });
        println_json(&KeysObject { remote: name, key: remote.key.as_deref(), session_key, instances });
        return;
    }
    let lines = Lines::new();
    print(&lines);
    lines.flush();
}

fn unreadable(name: &Name, error: coast_sync::SyncError) -> LifecycleError {
    let doing =
        format!("reading the session key of {name}; coast remote key {name} --remove --force forgets it");
    LifecycleError::Bulk { doing, error, advice: String::new() }
}

fn shown(path: &Path) -> String {
    Shown(path.as_os_str().as_encoded_bytes()).to_string()
}

fn prompt(args: &KeyArgs, cancel: &Cancel) -> Box<dyn Narrator> {
    narrator(OutputOptions::for_questions(Form::of(args.json)), cancel)
}
