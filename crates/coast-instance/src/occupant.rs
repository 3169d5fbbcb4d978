//! The instance whose workspace a transfer would write to that is no command on an instance: its rules are not those of the
//! Coastfile, and it would delete what they protect.

use std::path::{Component, Path, PathBuf};

use coast_ssh::{ConnectOptions, Route, Target};

use crate::continuous::InstanceId;
use crate::records::Records;
use crate::{Places, Remotes};

/// The instance that has its workspace at, in or around the directory `path` of a machine. Only instances with a record on this
/// machine are known. Hosts are compared as the ssh configuration names them; two names of one machine are not recognized. A path
/// that is relative to a home directory on the remote is not recognized either.
pub fn occupant(
    places: &Places,
    target: &Target,
    connect: &ConnectOptions,
    path: &Path,
) -> Option<InstanceId> {
    let path = plain(path).filter(|path| path.is_absolute())?;
    let records = Records::new(places.clone());
    let known = records.projects().unwrap_or_default().into_iter().flat_map(|project| {
        let instances = records.instances(&project).unwrap_or_default();
        instances.into_iter().map(move |instance| (project.clone(), instance))
    });
    // A record that cannot be read says nothing. `coast ls` names it.
    let recorded = known.filter_map(|(project, instance)| records.load(&project, &instance).ok()?);
    let overlapping = recorded.filter(|record| {
        let workspace = Path::new(&record.remote_path);
        workspace.starts_with(&path) || path.starts_with(workspace)
    });
    let overlapping: Vec<_> = overlapping.collect();
    if overlapping.is_empty() {
        return None;
    }
    // An ssh configuration that cannot be used fails the transfer itself.
    let host = Route::of(target, connect).ok()?.host();
    let remotes = Remotes::load(places).ok()?;
    let at_host = |remote: &crate::Remote| {
        let connect =
            ConnectOptions { environment: connect.environment.clone(), ..ConnectOptions::default() };
        Route::of(&remote.target(), &connect).is_ok_and(|route| route.host() == host)
    };
    let found = overlapping.into_iter().find(|record| remotes.get(&record.remote).is_ok_and(at_host));
    found.map(|record| record.id())
}

/// The path without `.` and `..`. `None` if `..` leads above the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => plain.pop().then_some(())?,
            component => plain.push(component),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use coast_ssh::Environment;

    use super::*;
    use crate::record::Record;
    use crate::{Remote, RemotesEditor};

    #[test]
    fn the_instance_at_a_place_is_found_by_its_host_and_path() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::below(scratch.path());
        let config = scratch.path().join("ssh_config");
        std::fs::write(&config, "Host alias\n HostName box.example\n Port 2222\n").unwrap();
        let name = |text: &str| text.parse().unwrap();
        let mut editor = RemotesEditor::open(&places).unwrap();
        editor.add(name("box"), Remote::parse("dev@box.example:2222", None, None).unwrap()).unwrap();
        drop(editor);
        let root = Path::new("/p");
        let path = "/data/workspaces/shop/dev-1".to_owned();
        let record = Record::begun(name("shop"), name("dev-1"), root, root, name("box"), path);
        Records::new(places.clone()).save(&record).unwrap();

        let connect = ConnectOptions {
            config_file: Some(config),
            environment: Environment::isolated(scratch.path(), "me"),
            ..ConnectOptions::default()
        };
        let found = |host: &str, path: &str| {
            let target = Target::parse(host).unwrap();
            occupant(&places, &target, &connect, Path::new(path)).map(|id| id.to_string())
        };
        let dev = Some("shop/dev-1".to_owned());
        for path in [
            "/data/workspaces/shop/dev-1",
            "/data/workspaces/shop/dev-1/",
            "/data/workspaces/shop/./dev-1/uploads",
            "/data/workspaces/shop/other/../dev-1",
            "/data/workspaces",
        ] {
            assert_eq!(found("other@box.example:2222", path), dev, "{path}");
            assert_eq!(found("alias", path), dev, "{path}");
            assert_eq!(found("box.example", path), None, "another port");
            assert_eq!(found("else.example:2222", path), None);
        }
        for path in ["/data/workspaces/shop/dev-10", "/data/workspaces/shop/dev-2", "/srv", "data/workspaces"]
        {
            assert_eq!(found("alias", path), None, "{path}");
        }
    }
}
