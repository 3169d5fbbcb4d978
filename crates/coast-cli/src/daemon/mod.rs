//! `coast daemon`: the daemon itself, and the commands that start, end and show it.

mod connector;
mod logs;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use coast_daemon::{
    Client, ClientError, DaemonError, DaemonOptions, DaemonPlaces, DaemonStatus, InstanceSummary,
    RemoteState, Service, Started, leave_the_terminal, start,
};
use coast_instance::{Addressed, Layer, Places, shell_word};

pub(crate) use connector::{connector, connector_of_instances, go_alone};

use crate::args::daemon::{DaemonCommand, RunArgs, StatusArgs};
use crate::exit_code::{FILE_IO, UNUSABLE};
use crate::lifecycle::{println_json, remote_helper};
use crate::output::{Shown, Size, Weight, complain, counted, native_words, println, retry_words, shown};

/// `coast daemon`
pub(crate) fn daemon(command: DaemonCommand) -> anyhow::Result<u8> {
    let places = Places::from_process()?;
    let daemon = DaemonPlaces::from_process(&places);
    match command {
        DaemonCommand::Run(args) => run(daemon, places, &args),
        DaemonCommand::Start => started(&daemon),
        DaemonCommand::Stop => Ok(stop(&daemon)),
        DaemonCommand::Restart => match ended(&daemon) {
            Ok(_) => started(&daemon),
            Err(error) => Ok(refuse(&error)),
        },
        DaemonCommand::Status(args) => Ok(status(&daemon, &args)),
        DaemonCommand::Logs(args) => logs::print(&daemon, args.follow),
        DaemonCommand::Install => install(&service(&places)),
        DaemonCommand::Uninstall => uninstall(&service(&places)),
    }
}

fn run(places: DaemonPlaces, records: Places, args: &RunArgs) -> anyhow::Result<u8> {
    let options = DaemonOptions::new(places, records, remote_helper(None)?);
    let ran = if args.detached {
        let listening = leave_the_terminal().context("cannot leave the terminal")?;
        coast_daemon::run(&options, listening)
    } else {
        let options = options.log_to_stderr();
        coast_daemon::run(&options.keep_connections(Duration::from_secs(args.keep_connections)), || {})
    };
    Ok(match ran {
        Ok(()) => 0,
        Err(error) => {
            complain(Weight::Error, &error.to_string());
            if matches!(error, DaemonError::Runs(_)) { UNUSABLE } else { FILE_IO }
        }
    })
}

fn started(places: &DaemonPlaces) -> anyhow::Result<u8> {
    match start(places, &own_file()?) {
        Ok(Started::Now(status)) => println(&format!("coastd runs, as process {}", status.pid)),
        Ok(Started::Before(status)) => println(&format!("coastd runs already, as process {}", status.pid)),
        Ok(Started::InPlaceOf { version, status }) => {
            println(&format!(
                "coastd runs, as process {}, in the place of an older one (version {version})",
                status.pid
            ));
        }
        Err(error) => {
            complain(Weight::Error, &error.to_string());
            return Ok(FILE_IO);
        }
    }
    Ok(0)
}

/// Ends the daemon. Returns false if none ran.
fn ended(places: &DaemonPlaces) -> Result<bool, ClientError> {
    Client::new(places.clone()).shut_down()
}

fn stop(places: &DaemonPlaces) -> u8 {
    // A daemon of another version may not answer in words that this program knows, and is ended all the same.
    let followed = Client::new(places.clone()).status().map(|status| status.instances).unwrap_or_default();
    match ended(places) {
        Ok(true) => println(&ended_words(&followed)),
        Ok(false) => println("coastd did not run"),
        Err(error) => return refuse(&error),
    }
    0
}

/// Says which instances no longer follow because the daemon has ended. Sessions of mutagen go on without it.
fn ended_words(instances: &[InstanceSummary]) -> String {
    let native = instances.iter().filter(|instance| instance.layer == Layer::Native);
    let names: Vec<_> = native.map(|instance| instance.id.to_string()).collect();
    if names.is_empty() {
        return "coastd has ended".to_owned();
    }
    format!(
        "coastd has ended; edits do not follow any more in: {}; they follow again after: coast daemon start",
        names.join(", ")
    )
}

fn status(places: &DaemonPlaces, args: &StatusArgs) -> u8 {
    match Client::new(places.clone()).status() {
        Ok(status) if args.json => println_json(&status),
        Ok(status) => status_lines(&status).iter().for_each(|line| println(line)),
        Err(error) if args.json => {
            let code = error.exit_code();
            println_json(
                &serde_json::json!({ "event": "failed", "exit_code": code, "text": error.to_string() }),
            );
            return code;
        }
        Err(error) => return refuse(&error),
    }
    0
}

fn status_lines(status: &DaemonStatus) -> Vec<String> {
    let mut lines = vec![format!("coastd {} runs, as process {}", status.version, status.pid)];
    if status.is_outdated() {
        lines.push("  warning    it is older than this program: coast daemon restart".to_owned());
    }
    lines.push(format!("  for        {}", span(status.uptime_seconds)));
    if let Some(now) = status.memory_bytes {
        let peak = status.peak_memory_bytes.map(|peak| format!(", at most {}", Size(peak)));
        lines.push(format!("  memory     {}{}", Size(now), peak.unwrap_or_default()));
    }
    lines.push(format!("  socket     {}", Shown(status.socket.as_os_str().as_encoded_bytes())));
    for (number, remote) in status.remotes.iter().enumerate() {
        let word = if number == 0 { "remotes" } else { "" };
        let state = match &remote.state {
            RemoteState::Connected { users: 0, idle_seconds } => {
                format!("connected, idle for {}", span(*idle_seconds))
            }
            RemoteState::Connected { users, .. } => {
                format!("connected, {}", counted(*users as u64, "command", "commands"))
            }
            RemoteState::Connecting => "connecting".to_owned(),
            RemoteState::Failed { problem, seconds_ago } => {
                format!("no connection, {} ago: {}", span(*seconds_ago), shown(problem))
            }
            _ => "in a state that this program does not know".to_owned(),
        };
        lines.push(format!("  {word:<9}  {}@{}: {state}", shown(&remote.user), shown(&remote.host)));
    }
    lines.extend(status.instances.iter().map(instance_line));
    lines
}

/// An instance that should follow, and whether it does.
fn instance_line(instance: &InstanceSummary) -> String {
    let InstanceSummary { id, layer, continuous, mending, .. } = instance;
    let instance = Addressed::new(&id.instance, Some(&id.project));
    let state = match (mending, continuous) {
        (Some(retry), _) if retry.missing_passphrase.is_some() => {
            format!("do not follow: coastd {}", retry_words(retry, &instance))
        }
        (Some(retry), _) => format!("do not follow: mended by coastd, {}", retry_words(retry, &instance)),
        (None, Some(continuous)) => native_words(continuous, &instance),
        (None, None) => "ask it with `coast status`".to_owned(),
    };
    format!("  instance   {id} ({}): {}", layer.as_str(), shown(&state))
}

/// A time of `seconds` in its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn service(places: &Places) -> Service {
    // The directory of configuration is the one above coast's own, and there always is one.
    let config = places.remotes().ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    Service::from_process(&config)
}

fn install(service: &Service) -> anyhow::Result<u8> {
    match service.install(&own_file()?) {
        Ok(()) => {
            println(&format!("wrote {}", shell_word(service.file())));
            println(&format!("to start coastd now and at each login: {}", service.enable_command()));
            Ok(0)
        }
        Err(error) => {
            complain(Weight::Error, &error.to_string());
            Ok(FILE_IO)
        }
    }
}

fn uninstall(service: &Service) -> anyhow::Result<u8> {
    match service.uninstall() {
        Ok(true) => {
            println(&format!("removed {}", shell_word(service.file())));
            println(&format!("to end the service that it started: {}", service.disable_command()));
            Ok(0)
        }
        Ok(false) => {
            println(&format!("there is no {}", shell_word(service.file())));
            Ok(0)
        }
        Err(error) => {
            complain(Weight::Error, &error.to_string());
            Ok(FILE_IO)
        }
    }
}

fn refuse(error: &ClientError) -> u8 {
    complain(Weight::Error, &error.to_string());
    error.exit_code()
}

fn own_file() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn a_time_is_given_in_its_largest_units() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(61), "1 min 1 s");
        assert_eq!(span(7260), "2 h 1 min");
        assert_eq!(span(90_000), "1 d 1 h");
    }
}
