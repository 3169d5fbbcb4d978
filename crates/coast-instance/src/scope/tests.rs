//! The project of a command whose directory or Coastfile does not tell it.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::ProjectInstance;
use crate::record::Record;

struct Home {
    scratch: tempfile::TempDir,
    places: Places,
}

impl Home {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir_all(scratch.path().join("shop/src")).unwrap();
        Self { places: Places::below(&scratch.path().join("home")), scratch }
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.scratch.path()).unwrap().join("shop")
    }

    fn coastfile(&self, content: impl AsRef<[u8]>) {
        fs::write(self.root().join("Coastfile"), content).unwrap();
    }

    /// Writes the record of an instance that was made at `root`.
    fn made(&self, project: &str, instance: &str, root: &Path) {
        let path = format!("/data/workspaces/{project}/{instance}");
        let record = Record::begun(name(project), name(instance), root, root, name("box"), path);
        Records::new(self.places.clone()).save(&record).unwrap();
    }

    fn here(&self, instance: &str) -> Result<Scope, LifecycleError> {
        Scope::of_directory(&self.places, &self.root(), Some(&name(instance)), &CoastfileChoice::Remembered)
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn a_project_inside_another_never_means_the_instance_of_the_outer_one() {
    let home = Home::new();
    home.coastfile("[coast]\nname = \"mono\"\n");
    home.made("mono", "dev-1", &home.root());
    let inner = home.root().join("src");
    for content in ["[coast]\nname = \"svc\"\n", "[coast]\nname = 1\n"] {
        fs::write(inner.join("Coastfile"), content).unwrap();
        let here = |instance: Option<&Name>| {
            Scope::of_directory(&home.places, &inner, instance, &CoastfileChoice::Remembered).unwrap()
        };
        let scope = here(Some(&name("dev-1")));
        assert_ne!(scope.name.as_str(), "mono", "{content}");
        assert_eq!(ProjectInstance::of_scope(&home.places, &here(None)).unwrap(), [], "{content}");
    }
}

#[test]
fn a_wrong_coastfile_leaves_the_project_of_the_records() {
    let home = Home::new();
    home.made("market", "dev-1", &home.root());
    for wrong in [
        &b"[coast\nname = 1"[..],
        b"[coast]\nname = \"other\"\n[remote]\nworkspace_sync = \"mutagn\"\n",
        b"\xff\xfe\x00",
        b"[coast]\nname = \"-\"\n",
        b"extends = \"missing\"\n",
    ] {
        home.coastfile(wrong);
        for instance in ["dev-1", "dev-2"] {
            let scope = home.here(instance).unwrap();
            assert_eq!((scope.name.as_str(), &scope.root), ("market", &Some(home.root())));
            let error = scope.project().unwrap_err();
            assert_eq!(error.exit_code(), 1, "{error}");
            let warning = scope.warning().unwrap();
            assert!(warning.starts_with(&error.to_string()) && warning.contains("Coastfile"), "{warning}");
        }
    }
}

#[test]
fn without_records_a_wrong_coastfile_still_tells_its_name() {
    let home = Home::new();
    fs::write(home.root().join("base"), "[coast]\nname = \"of-base\"\n").unwrap();
    for (wrong, told) in [
        ("[coast]\nname = \"market\"\n[remote\nexclude = [", "market"),
        ("[remote]\nexclude = 1\n[coast]\nname = \"market\"\n", "market"),
        ("extends = \"base\"\n[remote]\nown = 1\n", "of-base"),
        ("extends = \"Coastfile\"\n", "shop"),
        ("nonsense", "shop"),
    ] {
        home.coastfile(wrong);
        assert_eq!(home.here("dev-1").unwrap().name.as_str(), told, "{wrong}");
    }
    home.coastfile([b"[coast]\nname = \"market\"\nx = \"".as_slice(), b"\xff\"\n"].concat());
    assert_eq!(home.here("dev-1").unwrap().name.as_str(), "market");
}

#[test]
fn an_instance_is_found_under_an_earlier_name_of_its_project() {
    let home = Home::new();
    home.made("market", "dev-1", &home.root());
    // The Coastfile is gone, or names the project anew. A directory below it has no mark of the project either.
    for here in [home.root(), home.root().join("src")] {
        let scope =
            Scope::of_directory(&home.places, &here, Some(&name("dev-1")), &CoastfileChoice::Remembered)
                .unwrap();
        assert_eq!((scope.name.as_str(), &scope.root), ("market", &Some(home.root())));
    }
    home.coastfile("[coast]\nname = \"store\"\n");
    let scope = home.here("dev-1").unwrap();
    assert_eq!(scope.name.as_str(), "market");
    let error = scope.project().unwrap_err();
    assert!(error.exit_code() == 3 && error.to_string().contains("[coast] name = \"market\""), "{error}");
    assert_eq!(home.here("dev-2").unwrap().name.as_str(), "store", "it has no instance of that name");
    assert_eq!(home.here("dev-1").unwrap().names(&home.places), [name("market")]);
    let all = Scope::of_directory(&home.places, &home.root(), None, &CoastfileChoice::Remembered).unwrap();
    assert_eq!(all.names(&home.places), [name("market"), name("store")]);

    home.made("bazaar", "dev-1", &home.root());
    let error = home.here("dev-1").unwrap_err();
    assert!(error.to_string().contains("--project bazaar or --project market"), "{error}");
    home.made("store", "dev-1", &home.root());
    assert_eq!(home.here("dev-1").unwrap().name.as_str(), "store");
}

#[test]
fn a_project_is_found_by_its_name_from_anywhere() {
    let home = Home::new();
    home.coastfile("[coast]\nname = \"market\"\n");
    home.made("market", "dev-1", &home.root());
    let scope = |project, instance| {
        Scope::of_name(&home.places, &name(project), &name(instance), &CoastfileChoice::Remembered)
    };
    assert_eq!(scope("market", "dev-1").unwrap().project().unwrap().root, home.root());
    let error = scope("market", "dev-2").unwrap_err();
    assert!(error.to_string().contains("it has dev-1"), "{error}");
    let error = scope("shop", "dev-1").unwrap_err();
    assert!(error.to_string().contains("reach it with: --project market"), "{error}");

    // Another project in that directory is not taken for this one.
    home.coastfile("[coast]\nname = \"blog\"\n");
    let error = scope("market", "dev-1").unwrap().project().unwrap_err().to_string();
    assert!(error.contains("is called \"blog\" now"), "{error}");

    fs::remove_dir_all(home.root()).unwrap();
    let gone = scope("market", "dev-1").unwrap();
    assert_eq!((&gone.root, gone.warning()), (&None, None));
    let error = gone.project().unwrap_err();
    assert!(
        error.exit_code() == 3 && error.to_string().ends_with("coast rm dev-1 --project market"),
        "{error}"
    );
}

#[test]
fn the_type_of_the_last_command_is_used_again_wherever_the_command_runs() {
    let home = Home::new();
    let root = home.root();
    let light: CoastfileType = "light".parse().unwrap();
    // A typed Coastfile alone marks no root, and it may name the project as it likes.
    fs::write(root.join("src/Coastfile.remote.light"), "[coast]\nname = \"lamp\"\n").unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    let choice = CoastfileChoice::Typed(light.clone());
    let here = root.join("src");
    let made = Scope::to_make(&home.places, &here, &name("dev-1"), &choice).unwrap();
    assert_eq!((made.name.as_str(), made.root.as_deref()), ("lamp", Some(here.as_path())));
    home.made("lamp", "dev-1", &here);
    let records = Records::new(home.places.clone());
    let mut record = records.load(&name("lamp"), &name("dev-1")).unwrap().unwrap();
    record.coastfile_type = Some(light.clone());
    records.save(&record).unwrap();

    fs::create_dir(here.join("deep")).unwrap();
    let kind_of = |scope: &Scope| scope.project().unwrap().coastfile.kind.clone();
    for here in [here.clone(), here.join("deep")] {
        let found =
            Scope::of_directory(&home.places, &here, Some(&name("dev-1")), &CoastfileChoice::Remembered);
        let found = found.unwrap();
        assert_eq!((&found.name, kind_of(&found)), (&made.name, Some(light.clone())));
    }
    let by_name =
        Scope::of_name(&home.places, &name("lamp"), &name("dev-1"), &CoastfileChoice::Remembered).unwrap();
    assert_eq!(kind_of(&by_name), Some(light.clone()));
    let again = Scope::to_make(&home.places, &here, &name("dev-1"), &CoastfileChoice::Remembered).unwrap();
    assert_eq!(kind_of(&again), Some(light));
    // A type that is gone keeps from what needs the settings, and not from the rest.
    fs::remove_file(here.join("Coastfile.remote.light")).unwrap();
    let gone =
        Scope::of_directory(&home.places, &here, Some(&name("dev-1")), &CoastfileChoice::Remembered).unwrap();
    assert_eq!(gone.name, made.name);
    assert!(
        gone.warning().unwrap().contains("there is no Coastfile.remote.light.toml or Coastfile.remote.light")
    );
}
