//! `coast remote add|ls|rm`.

use std::path::PathBuf;

use coast_instance::{LifecycleError, Name, Places, Records, Remote, Remotes, RemotesEditor, RemotesError};
use serde::Serialize;

use super::{
    absolute, println_json, refuse, refuse_with, remote_checks, remote_key, remote_prune, remote_sudoers,
};
use crate::args::remote::{AddArgs, ListArgs, RemoteCommand, RemoveArgs};
use crate::exit_code::UNUSABLE;
use crate::output::{Lines, Shown, Weight, complain, println, table};

/// `coast remote`
pub(crate) fn remote(command: RemoteCommand) -> anyhow::Result<u8> {
    let places = Places::from_process()?;
    match command {
        RemoteCommand::Add(args) => add(&places, args),
        RemoteCommand::Ls(args) => ls(&places, &args),
        RemoteCommand::Rm(args) => rm(&places, &args),
        RemoteCommand::Test(args) => remote_checks::test(&places, &args),
        RemoteCommand::Setup(args) => remote_checks::setup(&places, &args),
        RemoteCommand::Sudoers(args) => remote_sudoers::sudoers(&places, &args),
        RemoteCommand::Prune(args) => remote_prune::prune(&places, &args),
        RemoteCommand::Key(args) => remote_key::key(&places, &args),
    }
}

fn add(places: &Places, args: AddArgs) -> anyhow::Result<u8> {
    let key = args.key.map(|key| absolute(&key)).transpose()?;
    if let Some(key) = key.as_ref().filter(|key| !key.is_file()) {
        let text = format!("there is no key {}; --key takes a file with a private key", key.display());
        return Ok(refuse_with(&text, UNUSABLE, args.json));
    }
    let added = remember(places, &args.name, &args.address, key, args.service_home, args.replace);
    match added {
        Ok(remote) => {
            if args.json {
                println_json(&RemoteObject::of(&args.name, &remote));
            } else {
                let (name, address) = (&args.name, remote.address());
                println(&format!(
                    "{name} is {address}; see whether instances can live there: coast remote test {name}"
                ));
            }
            Ok(0)
        }
        Err(error) => Ok(refuse(&error, args.json)),
    }
}

fn remember(
    places: &Places,
    name: &Name,
    address: &str,
    key: Option<PathBuf>,
    service_home: Option<String>,
    replace: bool,
) -> Result<Remote, LifecycleError> {
    let mut editor = RemotesEditor::open(places)?;
    let old = editor.remotes().get(name).ok().filter(|_| replace);
    let service_home = service_home.or_else(|| old.map(|old| old.service_home.clone()));
    let remote = Remote::parse(address, key, service_home)?;
    if replace {
        let users = Records::new(places.clone()).users_of(name)?;
        editor.replace(name.clone(), remote.clone(), users)?;
    } else {
        editor.add(name.clone(), remote.clone())?;
    }
    Ok(remote)
}

/// A machine as an object.
#[derive(Serialize)]
struct RemoteObject<'a> {
    name: &'a Name,
    #[serde(flatten)]
    remote: &'a Remote,
    /// `project/instance` of each that lives there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    instances: Vec<String>,
}

impl<'a> RemoteObject<'a> {
    fn of(name: &'a Name, remote: &'a Remote) -> Self {
        Self { name, remote, instances: Vec::new() }
    }
}

fn ls(places: &Places, args: &ListArgs) -> anyhow::Result<u8> {
    let remotes = match Remotes::load(places) {
        Ok(remotes) => remotes,
        Err(error) => return Ok(refuse(&LifecycleError::from(error), args.json)),
    };
    let records = Records::new(places.clone());
    let mut objects = Vec::new();
    for (name, remote) in remotes.iter() {
        let instances = match records.users_of(name) {
            Ok(instances) => instances,
            Err(error) => return Ok(refuse(&LifecycleError::from(error), args.json)),
        };
        objects.push(RemoteObject { name, remote, instances });
    }
    if args.json {
        println_json(&serde_json::json!({ "remotes": objects }));
        return Ok(0);
    }
    let lines = Lines::new();
    if objects.is_empty() {
        lines.print(&RemotesError::None.to_string());
    } else {
        let mut rows = vec![["NAME", "ADDRESS", "SERVICE HOME", "KEY", "INSTANCES"].map(str::to_owned)];
        rows.extend(objects.iter().map(|object| {
            [
                object.name.to_string(),
                object.remote.address(),
                object.remote.service_home.clone(),
                object.remote.key.as_ref().map_or_else(|| "-".to_owned(), |key| key.display().to_string()),
                if object.instances.is_empty() { "-".to_owned() } else { object.instances.join(", ") },
            ]
        }));
        table(&rows).iter().for_each(|line| lines.print(line));
    }
    lines.flush();
    Ok(0)
}

fn rm(places: &Places, args: &RemoveArgs) -> anyhow::Result<u8> {
    let removed = || -> Result<(), LifecycleError> {
        // Locked first, so that no instance begins to live there between the look and the removal.
        let mut editor = RemotesEditor::open(places)?;
        let users = Records::new(places.clone()).users_of(&args.name)?;
        Ok(editor.remove(&args.name, users)?)
    };
    match removed() {
        Ok(()) => {
            if args.json {
                println_json(&serde_json::json!({ "name": args.name, "removed": true }));
            } else {
                println(&format!("{} is forgotten; nothing was changed there", args.name));
            }
            // A key that was never recorded: a command that would have recorded it was killed.
            let key = places.session_key(&args.name);
            if key.exists() {
                let text = format!(
                    "a private key that was made for {} is left: {}; remove it if nothing else uses it",
                    args.name,
                    Shown(key.as_os_str().as_encoded_bytes())
                );
                complain(Weight::Warning, &text);
            }
            Ok(0)
        }
        Err(error) => Ok(refuse(&error, args.json)),
    }
}
