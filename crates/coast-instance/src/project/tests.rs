//! Projects, and the worktrees that names and paths mean.

use super::*;

use Directories::{Any, OfProject};

impl Project {
    /// The directory that `wanted` means among those of the project.
    fn meant(&self, wanted: &str, here: &Path) -> Result<PathBuf, ProjectError> {
        self.worktree(OsStr::new(wanted), here, OfProject).map(|meant| meant.path)
    }
}

/// A main checkout `shop` with the linked worktrees `wt/one` (branch `feature/x`) and `wt/two` (detached), as git leaves them.
fn repository(scratch: &Path) -> PathBuf {
    let scratch = fs::canonicalize(scratch).unwrap();
    let git = scratch.join("shop/.git");
    fs::create_dir_all(scratch.join("shop/src/deep")).unwrap();
    fs::create_dir_all(&git).unwrap();
    fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(git.join("config"), "[core]\n\tbare = false\n").unwrap();
    for (name, head) in
        [("one", "ref: refs/heads/feature/x\n"), ("two", "0123456789012345678901234567890123456789\n")]
    {
        link(&scratch, name, &format!("wt/{name}"), head);
    }
    scratch
}

/// A linked worktree of `shop` as git leaves it: git's name for it, its directory, what its HEAD says.
fn link(scratch: &Path, name: &str, directory: &str, head: &str) {
    let admin = scratch.join("shop/.git/worktrees").join(name);
    let worktree = scratch.join(directory);
    fs::create_dir_all(&admin).unwrap();
    fs::create_dir_all(worktree.join("src")).unwrap();
    fs::write(admin.join("commondir"), "../..\n").unwrap();
    fs::write(admin.join("HEAD"), head).unwrap();
    fs::write(admin.join("gitdir"), format!("{}/.git\n", worktree.display())).unwrap();
    fs::write(worktree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
}

#[test]
fn a_project_is_found_from_every_place_in_it() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    for start in ["shop", "shop/src/deep", "wt/one", "wt/two/src"] {
        let project = Project::find(&base.join(start)).unwrap();
        assert_eq!((project.name.as_str(), &project.root), ("shop", &base.join("shop")), "{start}");
    }
    fs::write(base.join("shop/src/Coastfile"), "[coast]\nname = \"inner\"\n").unwrap();
    fs::write(base.join("wt/one/src/Coastfile"), "").unwrap();
    for start in ["shop/src/deep", "wt/one/src"] {
        let project = Project::find(&base.join(start)).unwrap();
        assert_eq!((project.name.as_str(), &project.root), ("inner", &base.join("shop/src")), "{start}");
        assert_eq!(project.meant("one", &base).unwrap(), base.join("wt/one/src"));
        assert_eq!(project.meant("wt/two/src", &base).unwrap(), base.join("wt/two/src"));
        fs::remove_dir(base.join("wt/two/src")).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("wt/two/src")).unwrap();
        for (wanted, directories) in [("two", OfProject), ("wt/two", OfProject), ("wt/two", Any)] {
            let error = project.worktree(OsStr::new(wanted), &base, directories).unwrap_err();
            assert!(matches!(error, ProjectError::NotInCheckout { .. }), "{error}");
        }
        fs::remove_file(base.join("wt/two/src")).unwrap();
        assert!(project.meant("two", &base).unwrap_err().to_string().contains("has no directory src"));
        fs::create_dir(base.join("wt/two/src")).unwrap();
    }
}

#[test]
fn copy_of_a_worktree_is_no_worktree() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    fs::create_dir_all(base.join("copy/src")).unwrap();
    fs::copy(base.join("wt/one/.git"), base.join("copy/.git")).unwrap();
    let project = Project::find(&base.join("shop")).unwrap();
    let copy = |directories| project.worktree(OsStr::new("../copy"), &base.join("shop"), directories);
    let error = copy(OfProject).unwrap_err().to_string();
    assert!(error.contains("--any-directory"), "{error}");
    assert_eq!(copy(Any).unwrap().path, base.join("copy"));
}

#[test]
fn a_worktree_is_found_by_path_name_and_branch() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    let project = Project::find(&base.join("shop")).unwrap();
    let find = |wanted: &str, here: &str| project.meant(wanted, &base.join(here));
    for (wanted, here, expected) in [
        ("one", "shop", "wt/one"),
        ("feature/x", "shop", "wt/one"),
        ("two", "wt", "wt/two"),
        ("../wt/two", "shop", "wt/two"),
        (".", "wt/two", "wt/two"),
        ("main", "wt", "shop"),
        ("..", "shop/src", "shop"),
    ] {
        assert_eq!(find(wanted, here).unwrap(), base.join(expected), "{wanted}");
    }
    assert_eq!(
        find("feature/y", "shop").unwrap_err().to_string(),
        "there is no worktree \"feature/y\": no worktree, branch or directory has that name (it has one, feature/x, two, main); did you mean \"feature/x\"?"
    );
    fs::remove_dir_all(base.join("wt/two")).unwrap();
    assert!(find("two", "shop").unwrap_err().to_string().contains("git worktree prune"));
    assert!(find("/", "shop").unwrap_err().to_string().contains("whole file system"));
    assert!(matches!(find("", "shop"), Err(ProjectError::NoWorktree { .. })));
}

#[test]
fn a_name_is_a_worktree_or_branch_before_it_is_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    link(&base, "aaa", "wt/aaa", "ref: refs/heads/zzz\n");
    link(&base, "zzz", "wt/zzz", "ref: refs/heads/qqq\n");
    link(&base, "qqq1", "other/moved", "ref: refs/heads/one\n");
    for directory in ["shop/aaa", "shop/feature/x", "shop/main", "shop/shop"] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let project = Project::find(&base.join("shop")).unwrap();
    for (wanted, here, path, other) in [
        ("qqq1", "shop", "other/moved", None),
        ("two", "shop", "wt/two", None),
        // From where the directory of that name is the worktree itself.
        ("two", "wt", "wt/two", None),
        // The name of one worktree's directory, and the branch of another.
        ("zzz", "shop", "wt/zzz", Some("wt/aaa")),
        ("one", "shop", "wt/one", Some("other/moved")),
        ("qqq", "shop", "wt/zzz", None),
        // A worktree or branch, and a directory.
        ("aaa", "shop", "wt/aaa", Some("shop/aaa")),
        ("main", "shop", "shop", Some("shop/main")),
        // The main checkout, by its directory, also where that holds a directory of the same name.
        ("shop", "wt/one", "shop", None),
        ("shop", "shop", "shop", Some("shop/shop")),
        ("feature/x", "shop", "wt/one", Some("shop/feature/x")),
        // Written as a path.
        ("../wt/aaa", "shop", "wt/aaa", None),
    ] {
        let meant = project.worktree(OsStr::new(wanted), &base.join(here), OfProject).unwrap();
        let expected = ResolvedWorktree { path: base.join(path), other: other.map(|other| base.join(other)) };
        assert_eq!(meant, expected, "{wanted} in {here}");
    }
    // A path that may be any directory is taken before a branch of that name.
    let meant = project.worktree(OsStr::new("feature/x"), &base.join("shop"), Any).unwrap();
    let expected = ResolvedWorktree { path: base.join("shop/feature/x"), other: Some(base.join("wt/one")) };
    assert_eq!(meant, expected);
}

#[test]
fn a_directory_that_is_no_worktree_of_the_repository_needs_a_word() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    // Another repository, with a worktree of its own, and one in this project.
    fs::create_dir_all(base.join("theirs/.git/worktrees/far")).unwrap();
    fs::create_dir_all(base.join("far")).unwrap();
    fs::write(base.join("theirs/.git/worktrees/far/commondir"), "../..\n").unwrap();
    let far = format!("gitdir: {}\n", base.join("theirs/.git/worktrees/far").display());
    fs::write(base.join("far/.git"), far).unwrap();
    fs::create_dir_all(base.join("shop/vendor/.git")).unwrap();
    // A worktree that git has pruned, and its directory.
    link(&base, "pruned", "wt/pruned", "ref: refs/heads/old\n");
    fs::remove_dir_all(base.join("shop/.git/worktrees/pruned")).unwrap();
    fs::create_dir_all(base.join("shop/docs")).unwrap();
    std::os::unix::fs::symlink("/etc", base.join("shop/link")).unwrap();
    std::os::unix::fs::symlink("../wt/one", base.join("shop/to-one")).unwrap();
    let project = Project::find(&base.join("shop")).unwrap();
    let here = base.join("shop");
    for (wanted, path, said) in [
        ("docs", "shop/docs", "only a part of the worktree"),
        ("./docs", "shop/docs", "only a part of the worktree"),
        ("/etc", "/etc", "no worktree of this project's repository"),
        ("link", "/etc", "no worktree of this project's repository"),
        ("..", "", "no worktree of this project's repository"),
        ("../theirs", "theirs", "another repository's"),
        ("../far", "far", "another repository's"),
        ("vendor", "shop/vendor", "another repository's"),
        ("../wt/pruned", "wt/pruned", "or was pruned"),
        ("../wt/one/src", "wt/one/src", "only a part of the worktree"),
    ] {
        let wanted = OsStr::new(wanted);
        let error = project.worktree(wanted, &here, OfProject).unwrap_err();
        let (text, path) = (error.to_string(), joined(&base, Path::new(path)));
        assert!(matches!(error, ProjectError::NotOfProject { .. }), "{text}");
        for said in [said, "--any-directory", &*path.to_string_lossy()] {
            assert!(text.contains(said), "{said:?} is missing from {text}");
        }
        assert_eq!(project.worktree(wanted, &here, Any).unwrap(), ResolvedWorktree { path, other: None });
    }
    assert_eq!(project.meant("to-one", &here).unwrap(), base.join("wt/one"));
    let error = project.worktree(OsStr::new("/"), &here, Any).unwrap_err();
    assert!(error.to_string().contains("whole file system"), "{error}");
}

#[test]
fn a_worktree_whose_directory_became_another_repository_is_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    fs::remove_file(base.join("wt/two/.git")).unwrap();
    let project = Project::find(&base.join("shop")).unwrap();
    for _ in 0..2 {
        let error = project.meant("two", &base).unwrap_err();
        assert!(matches!(error, ProjectError::WorktreeGone { .. }), "{error}");
        fs::create_dir_all(base.join("wt/two/.git")).unwrap();
    }
}

#[test]
fn a_branch_without_a_worktree_is_told_with_what_makes_one() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    let git = base.join("shop/.git");
    fs::create_dir_all(git.join("refs/heads/fix")).unwrap();
    fs::write(git.join("refs/heads/fix/it"), "0123\n").unwrap();
    fs::write(git.join("packed-refs"), "# pack-refs with: peeled\n0123 refs/heads/docs\n0123 refs/tags/v1\n")
        .unwrap();
    fs::create_dir_all(base.join("shop/docs")).unwrap();
    let project = Project::find(&base.join("shop")).unwrap();
    let said = |wanted: &str| project.meant(wanted, &base.join("shop")).unwrap_err().to_string();
    assert_eq!(
        said("fix/it"),
        "no worktree has the branch \"fix/it\" checked out; make one with: git worktree add PATH fix/it"
    );
    assert_eq!(
        said("docs"),
        "no worktree has the branch \"docs\" checked out; make one with: git worktree add PATH docs; for the directory of that \
         name, write: ./docs"
    );
    for none in ["v1", "fix", "../config", "ocs"] {
        assert!(said(none).starts_with("there is no worktree"), "{none}: {}", said(none));
    }
}

#[test]
fn without_a_repository_the_root_and_what_is_below_it_may_be_named() {
    let scratch = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(scratch.path()).unwrap();
    fs::create_dir_all(base.join("plain/sub/deep")).unwrap();
    fs::create_dir_all(base.join("plainer")).unwrap();
    std::os::unix::fs::symlink("/etc", base.join("plain/link")).unwrap();
    let project = Project::find(&base.join("plain")).unwrap();
    let here = base.join("plain");
    for (wanted, path) in [(".", "plain"), ("sub", "plain/sub"), ("sub/deep", "plain/sub/deep")] {
        assert_eq!(project.meant(wanted, &here).unwrap(), base.join(path), "{wanted}");
    }
    for wanted in ["..", "../plainer", "link", "/etc"] {
        let error = project.meant(wanted, &here).unwrap_err();
        assert!(matches!(error, ProjectError::NotOfProject { .. }), "{wanted}: {error}");
        assert!(project.worktree(OsStr::new(wanted), &here, Any).is_ok(), "{wanted}");
    }
}

#[test]
fn a_name_of_two_worktrees_is_refused_with_both_paths() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    link(&base, "one1", "other/one", "ref: refs/heads/twice\n");
    link(&base, "three", "wt/three", "ref: refs/heads/twice\n");
    link(&base, "four", "wt/four", "ref: refs/heads/main\n");
    let project = Project::find(&base.join("shop")).unwrap();
    for (wanted, first, second) in
        [("one", "wt/one", "other/one"), ("twice", "other/one", "wt/three"), ("main", "wt/four", "shop")]
    {
        assert_eq!(
            project.meant(wanted, &base.join("shop")).unwrap_err().to_string(),
            format!(
                "{wanted:?} can mean more than one worktree: {}, {}; name one of them by its path",
                base.join(first).display(),
                base.join(second).display()
            )
        );
    }
    fs::remove_dir_all(base.join("other/one")).unwrap();
    let found = project.meant("one", &base.join("shop")).unwrap();
    assert_eq!(found, base.join("wt/one"), "only one of them is there");
}

#[test]
fn relative_git_files_and_bare_repositories_are_read() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    fs::write(base.join("wt/one/.git"), "gitdir: ../../shop/.git/worktrees/one\n").unwrap();
    fs::write(base.join("shop/.git/worktrees/one/gitdir"), "../../../../wt/one/.git\n").unwrap();
    let project = Project::find(&base.join("wt/one")).unwrap();
    assert_eq!(project.root, base.join("shop"));
    assert_eq!(project.meant("one", &base).unwrap(), base.join("wt/one"));

    fs::write(base.join("shop/.git/config"), "[core]\n\tbare = true\n").unwrap();
    let project = Project::find(&base.join("wt/one")).unwrap();
    assert_eq!((project.name.as_str(), &project.root), ("one", &base.join("wt/one")));
    assert_eq!(project.meant("two", &base).unwrap(), base.join("wt/two"));
}

#[test]
fn a_plain_directory_is_a_project_if_its_name_is_one() {
    let scratch = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(scratch.path()).unwrap();
    fs::create_dir_all(base.join("plain")).unwrap();
    fs::create_dir_all(base.join("two words")).unwrap();
    let project = Project::find(&base.join("plain")).unwrap();
    assert_eq!((project.name.as_str(), &project.root), ("plain", &base.join("plain")));
    let message = Project::find(&base.join("two words")).unwrap_err().to_string();
    assert!(message.contains("\"two words\"") && message.contains("[coast] name"), "{message}");
    fs::create_dir_all(base.join("two..dots")).unwrap();
    let old = Project::find(&base.join("two..dots")).unwrap();
    let message = old.check_new().unwrap_err().to_string();
    assert!(message.contains("\"two..dots\"") && message.contains("[coast] name"), "{message}");
    assert!(project.check_new().is_ok());
}

#[test]
fn a_worktree_in_a_worktree_dir_is_named_by_its_path_below_it_and_git_says_whether_it_is_one() {
    let scratch = tempfile::tempdir().unwrap();
    let base = repository(scratch.path());
    link(&base, "fix-1", "agents/a1/wt/team/fix", "ref: refs/heads/a\n");
    link(&base, "fix-2", "agents/a2/other/fix", "ref: refs/heads/b\n");
    fs::create_dir_all(base.join("agents/a1/wt/stray")).unwrap();
    let find = |dirs: &str| {
        fs::write(base.join("shop/Coastfile"), format!("[coast]\nworktree_dir = {dirs}\n")).unwrap();
        Project::find(&base.join("shop")).unwrap()
    };
    let here = base.join("shop");
    let plain = find("[]");
    assert!(matches!(plain.meant("team/fix", &here), Err(ProjectError::NoWorktree { .. })));
    assert!(matches!(plain.meant("fix", &here), Err(ProjectError::SeveralWorktrees { .. })));

    for dirs in ["\"../agents/*/wt\"", "[\"nowhere\", \"../agents/a*/wt\"]"] {
        let project = find(dirs);
        assert_eq!(project.meant("team/fix", &here).unwrap(), base.join("agents/a1/wt/team/fix"), "{dirs}");
        assert_eq!(project.meant("one", &here).unwrap(), base.join("wt/one"), "others keep their names");
        // No checkout of the repository stands there.
        let error = project.meant("stray", &here).unwrap_err();
        assert!(error.to_string().contains("it has team/fix, fix-1, a, fix-2, b"), "{error}");
    }
    // The name below the directory comes before the name of a directory.
    let project = find("\"../agents/a2/other\"");
    let meant = project.worktree(OsStr::new("fix"), &here, OfProject).unwrap();
    assert_eq!(meant.path, base.join("agents/a2/other/fix"));
    fs::remove_file(base.join("agents/a2/other/fix/.git")).unwrap();
    assert!(project.meant("fix", &here).is_err(), "a directory that lost its repository is no worktree");
}
