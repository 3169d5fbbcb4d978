use std::fs;

use super::*;
use crate::Layer;

/// A project with these files; the first is the one read.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = scratch.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    scratch
}

fn load(files: &[(&str, &str)]) -> Coastfile {
    Coastfile::load(project(files).path(), None).unwrap()
}

/// The message, with the project's directory taken out of it.
fn message(files: &[(&str, &str)]) -> String {
    let project = project(files);
    let error = Coastfile::load(project.path(), None).unwrap_err();
    error.to_string().replace(&format!("{}/", project.path().display()), "")
}

#[test]
fn without_a_file_it_is_bulk_only() {
    let coastfile = load(&[]);
    assert_eq!(coastfile, Coastfile::default());
    assert_eq!(coastfile.workspace_sync, Strategy::Bulk);
    assert!(coastfile.use_default_rules && coastfile.shell_network == "bridge");
}

#[test]
fn every_field_is_read_and_other_sections_are_left_alone() {
    let coastfile = load(&[(
        "Coastfile",
        r#"
            [coast]
            name = "shop"
            runtime = "dind"
            compose = { file = "compose.yml" }

            [remote]
            workspace_sync = "mutagen"
            exclude = ["*.log", "/dist"]
            protect = ["uploads/***"]
            use_default_rules = false
            own = "none"
            shell_image = "registry.example:5000/shell:1"
            shell_network = "host"

            [ports]
            web = 3000
            [[services]]
            name = "x"
        "#,
    )]);
    assert_eq!(
        coastfile,
        Coastfile {
            name: Some("shop".parse().unwrap()),
            kind: None,
            worktree_dirs: Vec::new(),
            workspace_sync: Strategy::Continuous(Layer::Mutagen),
            exclude: vec!["*.log".to_owned(), "/dist".to_owned()],
            protect: vec!["uploads/***".to_owned()],
            use_default_rules: false,
            own: Own::None,
            shell_image: Some("registry.example:5000/shell:1".to_owned()),
            shell_network: "host".to_owned(),
            files: coastfile.files.clone(),
        }
    );
}

#[test]
fn the_remote_form_is_read_before_the_plain_one() {
    let name = |name: &str| format!("[coast]\nname = \"{name}\"\n");
    let texts: Vec<(&str, String)> =
        FILE_NAMES.iter().zip(["a", "b", "c", "d"]).map(|(file, text)| (*file, name(text))).collect();
    for first in 0..FILE_NAMES.len() {
        let files: Vec<(&str, &str)> =
            texts[first..].iter().map(|(file, text)| (*file, text.as_str())).collect();
        assert_eq!(load(&files).name.unwrap().as_str(), ["a", "b", "c", "d"][first]);
    }
}

#[test]
fn what_extends_wins_and_lists_are_added_to() {
    let coastfile = load(&[
        (
            "Coastfile.remote",
            "extends = \"base/Coastfile\"\n[remote]\nexclude = [\"b\"]\nworkspace_sync = \"mutagen\"\n",
        ),
        (
            "base/Coastfile",
            "[coast]\nname = \"shop\"\nextends = \"../Coastfile.root\"\n[remote]\nexclude = [\"a\"]\nshell_image = \"one\"\n",
        ),
        (
            "Coastfile.root",
            "[coast]\nname = \"other\"\n[remote]\nprotect = [\"p\"]\nshell_image = \"two\"\nuse_default_rules = false\n",
        ),
    ]);
    assert_eq!(coastfile.name.unwrap().as_str(), "shop");
    assert_eq!(coastfile.workspace_sync, Strategy::Continuous(Layer::Mutagen));
    assert_eq!(
        (coastfile.exclude, coastfile.protect),
        (vec!["a".to_owned(), "b".to_owned()], vec!["p".to_owned()])
    );
    assert_eq!(coastfile.shell_image.as_deref(), Some("one"));
    assert!(!coastfile.use_default_rules);
}

#[test]
fn a_slip_in_a_name_is_told_and_other_parts_of_coast_are_left_alone() {
    for (text, expected) in [
        (
            "[remot]\nexclude = [\"secrets\"]\n",
            "Coastfile:1: there is no section [remot]; did you mean [remote]?",
        ),
        ("[Remote]\n", "Coastfile:1: there is no section [Remote]; did you mean [remote]?"),
        ("[coats]\n", "Coastfile:1: there is no section [coats]; did you mean [coast]?"),
        (
            "\nexclude = [\"secrets\"]\n",
            "Coastfile:2: \"exclude\" is a field of [remote]; write it below a line [remote]",
        ),
        ("name = \"shop\"\n", "Coastfile:1: \"name\" is a field of [coast]; write it below a line [coast]"),
        (
            "[coast]\nprotect = []\n",
            "Coastfile:2: \"protect\" is a field of [remote]; write it below a line [remote]",
        ),
        (
            "[coast]\nworktre_dir = \"x\"\n",
            "Coastfile:2: [coast] has no field \"worktre_dir\"; it may have name, worktree_dir, extends; did you mean \"worktree_dir\"?",
        ),
    ] {
        assert_eq!(message(&[("Coastfile", text)]), expected, "{text}");
    }
    let foreign = "runtime = \"dind\"\n[coast]\nruntime = \"x\"\nsetup = []\n[ports]\nweb = 1\n[shared_services.db]\n[secrets]\n[volumes]\n";
    load(&[("Coastfile", foreign)]);
}

#[test]
fn every_message_names_file_line_field_and_what_is_allowed() {
    let remote = |line: &str| format!("[coast]\nname = \"p\"\n\n[remote]\n{line}\n");
    for (line, expected) in [
        (
            "workspace_sync = \"rsnc\"",
            r#"Coastfile:5: [remote] workspace_sync is "rsnc"; it must be "rsync" or "native" or "mutagen"; did you mean "rsync"?"#,
        ),
        (
            "workspace_sync = \"unison\"",
            r#"Coastfile:5: [remote] workspace_sync is "unison"; it must be "rsync" or "native" or "mutagen""#,
        ),
        (
            "workspace_sync = true",
            "Coastfile:5: [remote] workspace_sync is true or false; it must be a string",
        ),
        (
            "workspace_snyc = \"rsync\"",
            "Coastfile:5: [remote] has no field \"workspace_snyc\"; it may have workspace_sync, exclude, protect, \
             use_default_rules, own, shell_image, shell_network; did you mean \"workspace_sync\"?",
        ),
        (
            "exclude = \"*.log\"",
            r#"Coastfile:5: [remote] exclude is a string; it must be a list of patterns, such as ["*.log", "/dist"]"#,
        ),
        (
            "exclude = [\n  \"ok\",\n  7,\n]",
            r#"Coastfile:7: [remote] exclude is an integer; it must be a list of patterns, such as ["*.log", "/dist"]"#,
        ),
        (
            "exclude = [\"+ keep\"]",
            "Coastfile:5: [remote] exclude: the pattern \"+ keep\" cannot be used: it is a filter rule; write the pattern alone \
             (includes and other rules are not possible here)",
        ),
        (
            "exclude = [\"*.log\",\n\"?.one\"]",
            "Coastfile:6: [remote] exclude: the pattern \"?.one\" cannot be used: \"?\", \"[!\" and \"[^\" stand for one byte in one \
             layer and for one character in the other; name the characters that may stand there, as in [a-z0-9], or write \"*\"",
        ),
        (
            "exclude = [\"*\"]",
            "Coastfile:5: [remote] exclude: the pattern \"*\" cannot be used: it stands for the whole workspace",
        ),
        ("protect = [\"\"]", "Coastfile:5: [remote] protect: the pattern \"\" cannot be used: it is empty"),
        ("own = \"me\"", "Coastfile:5: [remote] own is \"me\"; it must be \"all\" or \"root\" or \"none\""),
        (
            "use_default_rules = \"yes\"",
            "Coastfile:5: [remote] use_default_rules is a string; it must be true or false",
        ),
        (
            "shell_image = \"\"",
            "Coastfile:5: [remote] shell_image is \"\"; it must be the name of an image, such as \"shop-shell:latest\"",
        ),
        (
            "shell_network = \"no net\"",
            "Coastfile:5: [remote] shell_network is \"no net\"; it must be \"bridge\", \"host\", or the name of a Docker network",
        ),
        ("shell_network = 1.5", "Coastfile:5: [remote] shell_network is a number; it must be a string"),
    ] {
        assert_eq!(message(&[("Coastfile", &remote(line))]), expected, "{line}");
    }
}

#[test]
fn a_file_that_is_wrong_as_a_whole_is_named() {
    for (text, expected) in [
        (
            "[coast]\nname = \"../etc\"\n",
            "Coastfile:2: [coast] name: \"../etc\" is not a valid name: 1 to 63 letters (a-z, A-Z), digits, '-', '_' and '.', beginning and ending with a letter or a digit, without \"..\"",
        ),
        ("[coast]\nname = 5\n", "Coastfile:2: [coast] name is an integer; it must be a string"),
        ("coast = \"p\"\n", "Coastfile:1: [coast] is a string; it must be a table"),
        ("\nremote = []\n", "Coastfile:2: [remote] is a list; it must be a table"),
        ("extends = [\"a\"]\n", "Coastfile:1: extends is a list; it must be a string"),
        (
            "extends = \"\"\n",
            "Coastfile:1: extends is \"\"; it must be the path of a file, relative to this one",
        ),
        (
            "[coast]\nname = \n",
            "Coastfile:2: not valid TOML: string values must be quoted, expected literal string",
        ),
        (
            "[coast]\nextends = \"nowhere\"\n",
            "Coastfile:2: extends \"nowhere\", which cannot be read (No such file or directory (os error 2)); the path is relative to this file",
        ),
        (
            "extends = \"Coastfile\"\n",
            "Coastfile:1: extends \"Coastfile\", which extends this file in turn; one of them must stand alone",
        ),
    ] {
        assert_eq!(message(&[("Coastfile", text)]), expected, "{text:?}");
    }
}

#[test]
fn a_fault_in_an_extended_file_names_that_file() {
    let files = [("Coastfile", "extends = \"base\"\n"), ("base", "\n[remote]\nshell_imgae = \"x\"\n")];
    assert_eq!(
        message(&files),
        "base:3: [remote] has no field \"shell_imgae\"; it may have workspace_sync, exclude, protect, use_default_rules, \
         own, shell_image, shell_network; did you mean \"shell_image\"?"
    );
    let circle = [
        ("Coastfile", "extends = \"b\"\n"),
        ("b", "\nextends = \"./c\"\n"),
        ("c", "extends = \"Coastfile\"\n"),
    ];
    assert_eq!(
        message(&circle),
        "./c:1: extends \"Coastfile\", which extends this file in turn; one of them must stand alone"
    );
    let names: Vec<String> = (0..=MAX_EXTENDS)
        .map(|number| if number == 0 { "Coastfile".to_owned() } else { format!("f{number}") })
        .collect();
    let texts: Vec<String> = (1..=names.len()).map(|next| format!("extends = \"f{next}\"\n")).collect();
    let chain: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(message(&chain), "f15:1: extends more than 16 files, one after the other");
}

#[test]
fn a_file_that_is_not_text_cannot_be_read() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("Coastfile"), b"name = \"\xff\"").unwrap();
    let error = Coastfile::load(scratch.path(), None).unwrap_err();
    assert!(error.to_string().starts_with("cannot read ") && error.to_string().contains("UTF-8"), "{error}");
}

#[test]
fn a_typed_coastfile_stands_for_itself_and_a_missing_one_is_told_with_those_that_exist() {
    let files = [
        ("Coastfile", "[remote]\nexclude = [\"a\"]\n"),
        ("Coastfile.remote", "[remote]\nexclude = [\"b\"]\n"),
        ("Coastfile.remote.light", "[remote]\nexclude = [\"c\"]\n"),
        ("Coastfile.remote.full.toml", "extends = \"Coastfile\"\n[remote]\nexclude = [\"d\"]\n"),
        ("Coastfile.remote.toml.orig~", ""),
    ];
    let project = project(&files);
    let load = |kind: &str| Coastfile::load(project.path(), Some(&kind.parse().unwrap()));
    assert_eq!(load("light").unwrap().exclude, ["c"]);
    assert_eq!(load("full").unwrap().exclude, ["a", "d"]);
    assert_eq!(load("full").unwrap().kind, Some("full".parse().unwrap()));
    assert_eq!(Coastfile::load(project.path(), None).unwrap().kind, None);
    let missing = load("lihgt").unwrap_err().to_string();
    assert!(
        missing.contains("there is no Coastfile.remote.lihgt.toml or Coastfile.remote.lihgt in"),
        "{missing}"
    );
    assert!(missing.contains("it has the types full, light"), "{missing}");
    assert!(missing.contains("did you mean \"light\"?"), "{missing}");
}

#[test]
fn worktree_dir_is_a_directory_or_a_list() {
    let dirs = |value: &str| {
        let coastfile = load(&[("Coastfile", &format!("[coast]\nworktree_dir = {value}\n"))]);
        coastfile.worktree_dirs.iter().map(|dir| dir.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(dirs("\".worktrees\""), [".worktrees"]);
    assert_eq!(dirs("[\"../wt/*\", \"~/wt\", \"/wt\"]"), ["../wt/*", "~/wt", "/wt"]);
    for (value, said) in [
        ("1", "[coast] worktree_dir is an integer; it must be a directory, or a list"),
        ("[\"a\", 1]", "[coast] worktree_dir is an integer"),
        ("\"\"", "[coast] worktree_dir is \"\"; it must be a directory"),
        ("\"a/**\"", "`*` is the only wildcard"),
        ("[\"*/..\"]", "no \"..\" may come after it"),
    ] {
        let message = message(&[("Coastfile", &format!("[coast]\nworktree_dir = {value}\n"))]);
        assert!(message.starts_with("Coastfile:2: ") && message.contains(said), "{message}");
    }
}
