//! Fixed cases for the oracle. Each name is a behaviour of rsync that `coast sync` shares. Cases that random search found
//! are kept here.

use coast_tests::oracle::{Case, Circumstances};
use coast_tests::{Node, Sandbox, Tree};

/// A test for each case. The name of the test is the behaviour.
macro_rules! rsync_agrees_that {
    ($($behaviour:ident: $case:expr;)+) => {
        $(#[test] fn $behaviour() { $case.assert_agrees(); })+
    };
}

/// Seconds since the epoch.
const LONG_AGO: i64 = 1_600_000_000;

fn tree() -> Tree {
    Tree::new()
}

/// Both programs run as a user who owns the destination directory alone.
fn without_rights() -> Circumstances {
    Circumstances { user: Some((12345, 54321)), ..Circumstances::default() }
}

/// A tree in which every kind of entry meets every kind at the destination, as in `symlink-over-fifo`. `side` is 0 for the
/// source and 1 for the destination.
fn matrix(side: usize, directory: fn(Tree, &str) -> Tree) -> Tree {
    let content = ["new content", "old"][side];
    let nodes = [
        ("file", Node::File(content.into())),
        ("dir", Node::Dir),
        ("symlink", Node::Symlink(["new-target", "old-target"][side].into())),
        ("fifo", Node::Fifo),
        ("socket", Node::Socket),
        ("char", Node::CharDevice(1, [3, 5][side])),
        ("block", Node::BlockDevice(7, [201, 202][side])),
    ];
    let mut tree = Tree::new();
    for (new, new_node) in &nodes {
        for (old, old_node) in &nodes {
            let (name, node) = (format!("{new}-over-{old}"), [new_node, old_node][side]);
            tree = tree.entry(&name, node.clone());
            if *node == Node::Dir {
                tree = directory(tree, &name);
            }
        }
    }
    tree
}

fn empty(tree: Tree, _: &str) -> Tree {
    tree
}

fn filled(tree: Tree, name: &str) -> Tree {
    tree.file(format!("{name}/inside"), "inside").dir(format!("{name}/below"))
}

fn files(names: &[&str]) -> Tree {
    names.iter().fold(Tree::new(), |tree, name| tree.file(name, format!("content of {name}")))
}

fn nasty() -> Tree {
    Tree::new()
        .file("new\nline", "1")
        .file("-rf", "2")
        .file("*", "3")
        .file("[a]", "4")
        .file("back\\slash", "5")
        .file(" lead and trail ", "6")
        .file("\u{dc}n\u{ef}c\u{f8}d\u{e9}", "7")
        .file("...", "8")
        .file("~", "9")
        .file("$(true)", "10")
        .file("'\"", "11")
        .dir("#comment")
        .file("#comment/;x", "12")
        .symlink("\u{1}", "\u{2}\n")
        .file("host:file", "13")
        .file("x".repeat(255), "14")
        .entry(
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"latin \xe9\xff"),
            Node::File(b"15".to_vec()),
        )
}

const WITH_DELETE: &str = "-rlD --delete-after";
const DAY: i64 = 86_400;
const THEN: i64 = 1_700_000_000;

// Kinds.
#[test]
fn what_a_rule_file_protects_in_a_directory_in_the_way_stays_unlike_with_rsync() {
    let place = Sandbox::new();
    tree().file("a", "new").build(place.path("src"));
    tree().file(".rules", "P /a/keep\n").file("a/keep", "kept").file("a/drop", "").build(place.path("dst"));
    let rules = "--filter=:e .rules";
    let outcome = place.coast(["sync", "-r", "--delete", rules, "src/", "dst/"]).run();
    outcome.assert_code(23).assert_says("a: the directory was not deleted: something in it stays");
    assert_eq!(std::fs::read(place.path("dst/a/keep")).expect("it stays"), b"kept");
    assert!(!place.path("dst/a/drop").exists());
}

rsync_agrees_that! {
    a_directory_that_holds_what_stays_counts_against_a_limit:
        Case::new(files(&["b"]), files(&["core/x/a"]), "-rlD --delete --max-delete=0").filter("P /core/x/a");
    only_the_time_of_a_file_into_an_old_directory: Case::new(
        tree().file("a", "same").mtime(LONG_AGO),
        tree().dir("b").mtime(LONG_AGO).file("b/a", "same").mtime(LONG_AGO + 1),
        "-t",
    ).from("src/a").to("dst/b");
    every_kind_replaces_every_other: Case::new(matrix(0, empty), matrix(1, empty), "-rlD");
    every_kind_replaces_every_other_with_delete: Case::new(matrix(0, filled), matrix(1, filled), WITH_DELETE);
    a_full_directory_in_the_way_stays_without_delete: Case::new(matrix(0, filled), matrix(1, filled), "-rlD");
    kinds_not_asked_for_leave_the_destination_alone: Case::new(matrix(0, empty), matrix(1, empty), "-r");
    kinds_not_asked_for_are_not_deleted_either: Case::new(matrix(0, empty), matrix(1, filled), "-r --delete-after");
    links_are_left_out_without_l: Case::new(matrix(0, empty), matrix(1, empty), "-rD --delete");
    specials_are_left_out_without_capital_d: Case::new(matrix(0, empty), matrix(1, empty), "-rl --delete");
    a_protected_file_keeps_the_directory_in_the_way:
        Case::new(files(&["d"]), files(&["d/keep", "d/drop"]), WITH_DELETE).filter("P keep");
    an_excluded_file_keeps_the_directory_in_the_way:
        Case::new(files(&["d"]), files(&["d/keep", "d/drop"]), WITH_DELETE).argument("--exclude=keep");
    a_symlink_in_place_of_a_directory_is_replaced_and_its_target_stays:
        Case::new(files(&["d/f"]), files(&["elsewhere/kept"]).symlink("d", "elsewhere"), WITH_DELETE).filter("P elsewhere/***");
    a_symlink_in_place_of_a_file_is_replaced_and_its_target_stays:
        Case::new(files(&["f"]), tree().file("target", "kept").symlink("f", "target"), "-rl");
    a_symlink_to_another_target_is_changed:
        Case::new(tree().symlink("l", "one").symlink("m", "same"), tree().symlink("l", "two").symlink("m", "same"), "-rl");
    a_looping_symlink_is_copied: Case::new(tree().symlink("loop", "loop").symlink("up", ".."), tree(), "-rl");
    a_socket_and_a_fifo_survive_a_second_run: Case::new(
        tree().fifo("p").mode(0o600).socket("s"), tree().fifo("p").mode(0o600).socket("s"), "-rlDpt");
    a_device_with_another_number_is_made_again:
        Case::new(tree().char_device("n", 1, 3), tree().char_device("n", 1, 5).mode(0o600), "-rlD");
    nothing_but_directories: Case::new(tree().dir("a/b/c").dir("d").mode(0o700), tree().dir("a/x"), WITH_DELETE);
    an_empty_source_empties_the_destination: Case::new(tree(), files(&["a", "b/c"]).dir("e"), WITH_DELETE);
    an_empty_source_leaves_the_destination: Case::new(tree(), files(&["a", "b/c"]), "-r");
    without_r_directories_are_skipped: Case::new(files(&["a", "d/b"]), tree(), "-l");
    names_of_all_sorts_arrive: Case::new(nasty(), tree(), "-rl");
    names_of_all_sorts_are_deleted: Case::new(files(&["a"]), nasty(), WITH_DELETE);
    names_of_all_sorts_are_protected: Case::new(files(&["a"]), nasty(), WITH_DELETE).filter("P *");
}

// Content.
rsync_agrees_that! {
    a_long_file_changed_in_the_middle: {
        let old: Vec<u8> = (0..3_000_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut new = old.clone();
        new.splice(1_500_000..1_500_010, *b"something else entirely");
        Case::new(tree().file("f", &new), tree().file("f", &old), "-rz")
    };
    a_file_grows_shrinks_empties: Case::new(
        tree().file("grows", "12345678").file("shrinks", "1").file("empties", "").file("fills", "x"),
        tree().file("grows", "1234").file("shrinks", "1234").file("empties", "x").file("fills", ""), "-r");
    holes_are_content: Case::new(
        tree().sparse("holes", 3 << 20, vec![(1 << 20, b"island".to_vec())]), tree().file("holes", "x"), "-r");
    with_t_equal_size_and_time_is_equal: Case::new(
        tree().file("f", "new").mtime(THEN), tree().file("f", "old").mtime(THEN), "-rt");
    with_t_nanoseconds_do_not_matter: Case::new(
        tree().file("f", "new").mtime_ns(THEN, 5), tree().file("f", "old").mtime_ns(THEN, 900_000_000), "-rt");
    with_c_equal_size_and_time_is_not_enough: Case::new(
        tree().file("f", "new").mtime(THEN), tree().file("f", "old").mtime(THEN), "-rtc");
    with_t_only_the_time_is_set_when_the_content_is_right: Case::new(
        tree().file("f", "same").mtime(THEN), tree().file("f", "same").mtime(THEN + DAY), "-rt");
    with_t_times_of_all_kinds_follow: Case::new(
        tree().dir("d").mtime(THEN).file("d/f", "x").mtime_ns(THEN, 123_456_789).symlink("l", "x").mtime(THEN)
            .fifo("p").mtime(THEN).char_device("n", 1, 3).mtime(THEN),
        tree(), "-rlDt");
    with_t_times_of_existing_entries_follow: Case::new(
        tree().dir("d").mtime(THEN).symlink("l", "x").mtime(THEN).fifo("p").mtime(THEN),
        tree().dir("d").mtime(5).symlink("l", "x").mtime(5).fifo("p").mtime(5), "-rlDt");
    with_t_a_directory_has_its_time_after_deletions: Case::new(
        tree().file("d/e/f", "x").dir("d").mtime(THEN).dir("d/e").mtime(THEN),
        files(&["d/e/gone", "d/gone/too"]), "-rt --delete-after");
    times_before_the_epoch: Case::new(tree().file("f", "x").mtime(-DAY), tree(), "-rt");
}

// Modes and owners.
rsync_agrees_that! {
    new_entries_get_the_sources_bits_less_the_umask: Case::new(
        tree().file("a", "x").mode(0o777).file("b", "x").mode(0o666).file("c", "x").mode(0o4755).file("d", "x").mode(0o2775)
            .file("e", "x").mode(0o000).file("f", "x").mode(0o444).dir("g").mode(0o2777).dir("h").mode(0o1777)
            .dir("i").mode(0o500).file("i/inside", "x").mode(0o600).fifo("j").mode(0o777),
        tree(), "-rlD").umask(0o027);
    no_umask_at_all: Case::new(tree().file("a", "x").mode(0o777).dir("g").mode(0o777), tree(), "-r").umask(0);
    a_umask_that_takes_everything: Case::new(tree().file("a", "x").mode(0o777).dir("g").mode(0o777), tree(), "-r").umask(0o777);
    existing_entries_keep_their_bits: Case::new(
        tree().file("same", "x").mode(0o755).file("changed", "new").mode(0o777).dir("d").mode(0o777),
        tree().file("same", "x").mode(0o640).file("changed", "old").mode(0o4711).dir("d").mode(0o700), "-r");
    a_changed_file_with_set_id_bits_keeps_its_mode: Case::new(
        tree().file("f", "new content"), tree().file("f", "old").mode(0o6755), "-r");
    an_entry_of_another_kind_gets_a_new_mode: Case::new(
        tree().file("f", "x").mode(0o777).dir("d").mode(0o770), tree().dir("f").mode(0o700).file("d", "x").mode(0o600), "-r");
    with_p_modes_follow: Case::new(
        tree().file("f", "x").mode(0o4751).dir("d").mode(0o1733).fifo("p").mode(0o622).file("g", "new").mode(0o600),
        tree().file("f", "x").mode(0o644).dir("d").mode(0o755).fifo("p").mode(0o644).file("g", "x").mode(0o777),
        "-rlDp").umask(0o077);
    with_e_execute_bits_are_set_where_reading_is_allowed: Case::new(
        tree().file("f", "x").mode(0o755).file("g", "x").mode(0o100), tree().file("f", "x").mode(0o640).file("g", "x").mode(0o004),
        "-rE").umask(0o077);
    with_e_execute_bits_are_cleared: Case::new(tree().file("f", "x").mode(0o644), tree().file("f", "y").mode(0o4755), "-rE");
    with_e_other_execute_bits_are_good_enough: Case::new(tree().file("f", "x").mode(0o777), tree().file("f", "x").mode(0o744), "-rE");
    with_e_new_files_follow_the_umask: Case::new(tree().file("f", "x").mode(0o777), tree(), "-rE").umask(0o033);
    with_e_directories_keep_their_bits: Case::new(tree().dir("d").mode(0o755), tree().dir("d").mode(0o600), "-rE");
    p_wins_over_e: Case::new(tree().file("f", "x").mode(0o711), tree().file("f", "x").mode(0o644), "-rpE");
    owners_follow: Case::new(
        tree().file("f", "x").owner(1, 2).dir("d").owner(12345, 3).symlink("l", "x").owner(4, 54321).fifo("p").owner(6, 7),
        tree().file("f", "x").owner(9, 9).dir("d").symlink("l", "x").owner(9, 9).fifo("p"), "-rlDog");
    only_the_group_follows: Case::new(tree().file("f", "x").owner(1, 2), tree().file("f", "x").owner(3, 4), "-rg");
    a_new_owner_does_not_lose_the_set_id_bits: Case::new(
        tree().file("f", "x").mode(0o6755).owner(1, 2), tree().file("f", "x").mode(0o6755), "-rpog");
    everything_with_a: Case::new(matrix(0, filled), matrix(1, filled), "-a --delete-after");
    chown_names_the_owner: Case::new(files(&["f", "d/g"]), files(&["f"]), "-rog --chown=1:2");
    chown_alone_implies_owner_and_group: Case::new(files(&["f", "d/g"]).symlink("l", "x"), tree(), "-rl --chown=daemon:bin");
    chown_of_a_user_without_rights_transfers_all_the_same:
        Case::new(files(&["f", "d/g"]), files(&["f"]), "-rl --chown=1:2").under(without_rights());
    empty_directory_that_cannot_be_read_is_removed: Case::new(
        files(&["f"]), files(&["f"]).dir("stale").mode(0o700).owner(1, 1), "-r --delete-after").under(without_rights());
    directory_that_cannot_be_read_stays_if_it_holds_something: Case::new(
        files(&["f"]), files(&["f"]).dir("stale").mode(0o700).owner(1, 1).file("stale/x", "x"), "-r --delete-after")
        .under(without_rights());
    file_of_another_user_with_the_right_content_and_another_time_is_replaced: Case::new(
        tree().file("f", "x").mtime(LONG_AGO), tree().file("f", "x").owner(1, 1).mtime(LONG_AGO + 5), "-rpt")
        .under(without_rights());
    a_directory_that_root_alone_can_read: Case::new(
        tree().dir("d").mode(0o000).file("d/f", "x").mode(0o000), tree().dir("d").mode(0o000), "-r");
}

// Naming source and destination.
rsync_agrees_that! {
    without_a_slash_the_directory_itself_arrives: Case::new(files(&["a", "d/b"]), files(&["x"]), WITH_DELETE).from("src").to("dst");
    without_a_slash_the_names_beside_it_stay:
        Case::new(files(&["a"]), files(&["x", "src/gone", "src/d/gone"]), WITH_DELETE).from("src");
    a_dot_is_as_good_as_a_slash: Case::new(files(&["a", "d/b"]), files(&["x"]), WITH_DELETE).from("src/.");
    two_slashes_are_one: Case::new(files(&["a", "d/b"]), files(&["x"]), WITH_DELETE).from("src//");
    a_slash_on_the_destination_changes_nothing: Case::new(files(&["a"]), files(&["x"]), WITH_DELETE).to("dst");
    a_missing_destination_is_made: Case::new(files(&["a", "d/b"]), tree(), "-r").without_destination();
    a_missing_destination_is_made_for_a_directory_itself: Case::new(files(&["a"]), tree(), "-r").from("src").without_destination();
    a_destination_whose_parent_is_missing_is_refused: Case::new(files(&["a"]), tree(), "-r").to("dst/no/no/").without_destination();
    a_missing_destination_below_an_existing_one_is_made: Case::new(files(&["a"]), files(&["x"]), WITH_DELETE).to("dst/new");
    a_file_arrives_under_a_new_name: Case::new(files(&["a"]), files(&["x"]), "-r").from("src/a").to("dst/b");
    a_file_arrives_over_another: Case::new(files(&["a"]), files(&["b"]), "-r").from("src/a").to("dst/b");
    a_file_arrives_in_a_directory: Case::new(files(&["a"]), files(&["x"]), "-r").from("src/a");
    a_file_arrives_in_a_directory_without_slash: Case::new(files(&["a"]), files(&["x"]), "-r").from("src/a").to("dst");
    a_file_becomes_a_missing_destination: Case::new(files(&["a"]), tree(), "-r").from("src/a").to("dst").without_destination();
    a_file_makes_a_missing_directory_with_slash: Case::new(files(&["a"]), tree(), "-r").from("src/a").to("dst/").without_destination();
    a_file_replaces_a_symlink_of_its_new_name: Case::new(
        files(&["a"]), tree().file("target", "kept").symlink("b", "target"), "-r").from("src/a").to("dst/b");
    a_file_goes_into_the_directory_that_a_symlink_names: Case::new(
        files(&["a"]), tree().dir("target").symlink("b", "target"), "-r").from("src/a").to("dst/b");
    a_single_file_deletes_nothing: Case::new(files(&["a", "b"]), files(&["x"]), WITH_DELETE).from("src/a");
    a_directory_onto_a_file_is_refused: Case::new(files(&["d/a"]), files(&["f"]), "-r").from("src/d").to("dst/f");
    the_content_of_a_directory_onto_a_file_is_refused: Case::new(files(&["d/a", "d/b"]), files(&["f"]), "-r").from("src/d/").to("dst/f");
    a_fifo_arrives_under_a_new_name: Case::new(tree().fifo("p"), tree(), "-rD").from("src/p").to("dst/q");
    a_symlink_is_copied_itself: Case::new(files(&["d/a"]).symlink("l", "d"), tree(), "-rl").from("src/l");
    a_symlink_arrives_under_a_new_name: Case::new(files(&["d/a"]).symlink("l", "d"), tree(), "-rl").from("src/l").to("dst/m");
    a_symlink_with_a_slash_is_the_directory_it_names:
        Case::new(files(&["d/a"]).symlink("l", "d"), files(&["x"]), WITH_DELETE).from("src/l/");
    a_destination_may_be_a_symlink_to_a_directory:
        Case::new(files(&["a"]), files(&["d/x"]).symlink("l", "d"), WITH_DELETE).to("dst/l");
    a_missing_source_is_named: Case::new(files(&["a"]), files(&["x"]), WITH_DELETE).from("src/missing");
    a_missing_source_directory_is_named: Case::new(files(&["a"]), files(&["x"]), WITH_DELETE).from("src/missing/");
    a_file_with_a_slash_is_no_directory: Case::new(files(&["a"]), files(&["x"]), WITH_DELETE).from("src/a/");
    a_dry_run_changes_nothing: Case::new(matrix(0, filled), matrix(1, filled), "-rlDn --delete-after");
    a_dry_run_makes_no_destination: Case::new(files(&["a", "d/b"]), tree(), "-rn").without_destination();
}

// Deletion.
rsync_agrees_that! {
    delete_needs_recursion: Case::new(files(&["a"]), files(&["x"]), "-l --delete");
    delete_by_its_plain_name: Case::new(files(&["a", "d/b"]), files(&["x", "d/x", "e/x"]), "-r --delete");
    max_delete_zero: Case::new(files(&["a"]), files(&["x", "y/z"]), "-r --delete-after --max-delete=0");
    max_delete_one_of_three: Case::new(files(&["a"]), files(&["x", "y", "z"]), "-r --delete-after --max-delete=1");
    max_delete_just_enough: Case::new(files(&["a"]), files(&["x", "y/z"]), "-r --delete-after --max-delete=3");
    max_delete_does_not_count_what_makes_way: Case::new(
        files(&["a", "b"]), tree().fifo("a").dir("b").file("x", ""), "-r --delete-after --max-delete=1");
    protect_inside_an_extraneous_directory_keeps_it:
        Case::new(files(&["a"]), files(&["d/e/keep", "d/e/drop", "d/drop"]), WITH_DELETE).filter("P keep");
    an_excluded_file_keeps_its_extraneous_directory:
        Case::new(files(&["a"]), files(&["d/keep.o", "d/drop"]), WITH_DELETE).argument("--exclude=*.o");
    a_perishable_exclude_keeps_no_extraneous_directory: Case::new(
        files(&["a", "e/x"]), files(&["d/lost.o", "d/drop", "e/kept.o"]), WITH_DELETE).filter("-p *.o");
    a_perishable_protect_keeps_no_extraneous_directory: Case::new(
        files(&["a"]), files(&["d/lost", "lost"]), WITH_DELETE).filter("Pp lost");
    an_excluded_directory_is_left_whole: Case::new(
        files(&["a", "node_modules/new"]), files(&["node_modules/old", "x/node_modules/old"]), WITH_DELETE).argument("--exclude=node_modules");
    delete_excluded_deletes_what_is_excluded: Case::new(
        files(&["a", "b.o"]), files(&["b.o", "d/c.o", "d/x"]), "-r --delete-excluded").argument("--exclude=*.o");
    delete_excluded_still_honours_protect: Case::new(
        files(&["a", "b.o"]), files(&["b.o", "d/c.o"]), "-r --delete-excluded").argument("--exclude=*.o").filter("P c.o");
    delete_excluded_honours_a_rule_for_the_receiver: Case::new(
        files(&["a", "b.o"]), files(&["b.o", "c.o"]), "-r --delete-excluded").filter("-r c.o").filter("-s b.o");
    a_hidden_file_is_deleted: Case::new(files(&["a", "b"]), files(&["a", "b"]), WITH_DELETE).filter("H b");
    a_protected_file_is_sent_and_kept: Case::new(files(&["a"]), files(&["a", "b"]), WITH_DELETE).filter("P a").filter("P b");
    a_protected_extraneous_directory_is_kept_whole: Case::new(
        files(&["a"]), files(&["d/x", "d/e/y"]), WITH_DELETE).filter("P d/");
    three_stars_protect_a_directory_and_all_below: Case::new(
        files(&["a"]), files(&["generated/x/y", "sub/generated/z", "other/x"]), WITH_DELETE).filter("P generated/***");
    risk_before_protect_wins: Case::new(files(&["a"]), files(&["b.o", "c.o"]), WITH_DELETE).filter("R b.o").filter("P *.o");
    show_before_hide_wins: Case::new(files(&["b.o", "c.o"]), files(&["b.o", "c.o"]), WITH_DELETE).filter("S b.o").filter("H *.o");
    the_rules_of_the_documented_profile: Case::new(
        files(&["a", ".git/HEAD", "node_modules/m", "x/target/t", "generated/new", ".react-router/new", "src/app/main"]),
        files(&["gone/f", ".git/old", "x/target/u", "generated/kept", "internal/generated/kept", "y/app/generated/kept/z",
            ".react-router/kept", "gone/__pycache__/p", "app/generated/x"]),
        "-rlDz --delete-after --exclude=.git --exclude=node_modules --exclude=target --exclude=__pycache__ --exclude=.react-router")
        .filter("P generated/***").filter("P .react-router/***").filter("P internal/generated/***").filter("P app/generated/***");
}

fn pattern_tree() -> Tree {
    files(&[
        "a",
        "b",
        "ab",
        "abc",
        "a.c",
        "a.o",
        "foo",
        "d/a",
        "d/foo",
        "d/e/foo",
        "d/e/f/foo",
        "e/a.o",
        "x/y/z",
        "x/y/w",
        "x/z",
        "A",
        "[ab]",
        "d[1]/x",
        "a*",
        "back\\slash",
        "d/e/a b",
        "-dash",
        "]",
        "^",
        "!",
        "z/foo/bar/baz",
        "bar/foo/qux",
    ])
}

fn pattern(pattern: &str) -> Case {
    Case::new(pattern_tree(), tree(), "-r").argument(format!("--exclude={pattern}"))
}

// Patterns. Excluded entries do not arrive.
rsync_agrees_that! {
    a_plain_name_matches_anywhere: pattern("foo");
    a_leading_slash_anchors: pattern("/foo");
    a_trailing_slash_is_for_directories: pattern("foo/");
    an_inner_slash_matches_the_end_of_the_path: pattern("e/foo");
    an_anchored_path: pattern("/d/foo");
    a_star_stops_at_a_slash: pattern("/d/*foo");
    two_stars_do_not: pattern("/d/**foo");
    two_stars_alone_match_all: pattern("**");
    two_stars_within: pattern("d**foo");
    two_stars_at_the_front: pattern("**/foo");
    two_stars_between_slashes: pattern("d/**/foo");
    two_stars_at_the_end: pattern("d/**");
    three_stars_at_the_end: pattern("d/***");
    three_stars_elsewhere_are_two: pattern("d/***foo");
    three_stars_below_a_glob: pattern("*/e/***");
    a_question_mark_is_one_byte: pattern("a?c");
    a_question_mark_is_no_slash: pattern("x?z");
    a_class: pattern("[ab]");
    a_negated_class: pattern("[!a]");
    a_class_negated_with_a_caret: pattern("[^a]");
    a_range: pattern("[a-b]*");
    a_named_class: pattern("[[:upper:]]");
    a_class_with_a_bracket: pattern("[]]");
    a_class_with_a_bracket_escaped: pattern("[\\]]");
    a_class_without_an_end: pattern("[ab");
    a_class_does_not_match_a_slash: pattern("x[/]z");
    a_backslash_escapes_with_a_wildcard: pattern("a\\*");
    a_backslash_is_itself_without_a_wildcard: pattern("back\\slash");
    a_backslash_before_a_letter_with_a_wildcard: pattern("\\f*o");
    two_backslashes_with_a_wildcard: pattern("back\\\\sl*");
    a_backslash_at_the_end: pattern("a*\\");
    a_bracket_escaped: pattern("\\[ab\\]");
    a_leading_dash_in_a_pattern: pattern("-dash");
    a_pattern_with_a_rule_prefix_is_a_rule: pattern("+ foo").argument("--exclude=*o*");
    a_bang_alone_clears: Case::new(pattern_tree(), tree(), "-r").argument("--exclude=a*").argument("--exclude=!").argument("--exclude=f*");
    a_pattern_of_nothing_but_a_slash: pattern("/");
    an_empty_pattern_is_ignored_or_refused_alike: pattern("");
    case_matters: pattern("a");
    anchored_means_the_transfer_root_without_slash: pattern("/src/foo").from("src");
    anchored_at_the_name_only_with_slash: pattern("/src/foo");
    an_anchor_below_the_root_without_slash: pattern("/foo").from("src");
    an_inner_slash_may_name_the_root_directory: pattern("src/foo").from("src");
    the_modifier_slash_matches_the_absolute_path: Case::new(pattern_tree(), tree(), "-r").filter("-/ /foo").filter("-/ src/foo");
    a_negated_pattern_excludes_the_rest: Case::new(pattern_tree(), tree(), "-r").filter("-! */").filter("- foo");
    a_negated_name: Case::new(pattern_tree(), files(&["x", "a"]), WITH_DELETE).filter("-! [a-z]*");
    no_directories: Case::new(pattern_tree(), files(&["d/x", "gone"]), WITH_DELETE).filter("- */");
    only_some_files_of_all_directories:
        Case::new(pattern_tree(), files(&["d/x.o", "gone/x"]), WITH_DELETE).filter("+ */").filter("+ *.o").filter("- *");
    an_include_below_an_excluded_directory_is_never_reached:
        Case::new(pattern_tree(), tree(), "-r").argument("--include=d/e/foo").argument("--exclude=d");
    the_parents_must_be_included_too: Case::new(pattern_tree(), tree(), "-r")
        .argument("--include=/d/").argument("--include=/d/e/").argument("--include=/d/e/foo").argument("--exclude=*");
    a_rule_for_attributes_selects_no_file: Case::new(pattern_tree(), files(&["q"]), WITH_DELETE).filter("-x *");
    rules_spelled_out: Case::new(pattern_tree(), files(&["q", "keep"]), WITH_DELETE)
        .filter("exclude,! */").filter("clear").filter("include foo").filter("hide *.o").filter("protect keep").filter("exclude f*");
    an_underscore_for_the_space: Case::new(pattern_tree(), tree(), "-r").filter("-_foo").filter("exclude_a");
    the_filter_applies_to_a_single_file: Case::new(files(&["a"]), tree(), "-r").argument("--exclude=a").from("src/a");
    the_filter_applies_to_the_source_directory_by_name: Case::new(files(&["a"]), tree(), "-r").argument("--exclude=src").from("src");
    the_filter_does_not_apply_to_the_root_itself: Case::new(files(&["a"]), files(&["b"]), WITH_DELETE).argument("--exclude=/.");
    lists_of_patterns_from_files: Case::new(pattern_tree(), tree(), "-r --include-from=in --exclude-from=out")
        .beside("in", "# comment\n; comment\n\n/foo\n").beside("out", "foo\n- a\n+ ab\n*b\n");
    lists_may_end_without_a_newline_and_with_carriage_returns:
        Case::new(pattern_tree(), tree(), "-r --exclude-from=out").beside("out", "foo\r\na");
    a_list_may_clear: Case::new(pattern_tree(), tree(), "-r --exclude=a --exclude-from=out").beside("out", "!\nfoo\n");
    a_missing_list_is_an_error: Case::new(pattern_tree(), files(&["x"]), "-r --delete --exclude-from=missing");
}

fn merging(rules: &str) -> Case {
    let source = pattern_tree()
        .file(".rules", "- foo\n")
        .file("d/.rules", "- /a\n+ /e/foo\n")
        .file("x/.rules", "- /y/z\n");
    let destination = files(&["foo", "d/a", "d/q", "x/y/z", "x/q", "gone/foo"]);
    Case::new(source, destination, WITH_DELETE).filter(rules)
}

// Rule files.
rsync_agrees_that! {
    a_rule_file_counts_in_its_directory_and_below: merging(": .rules");
    a_rule_file_spelled_out: merging("dir-merge .rules");
    a_rule_file_not_inherited: merging(":n .rules");
    a_rule_file_that_excludes_itself: merging(":e .rules");
    a_rule_file_for_the_sender: merging(":s .rules");
    a_rule_file_for_the_receiver: merging(":r .rules");
    a_perishable_rule_file: merging(":p .rules");
    a_rule_file_with_delete_excluded: merging(": .rules").argument("--delete-excluded");
    a_rule_file_that_is_missing_everywhere: merging(": .missing");
    rules_before_and_after_the_rule_file: merging("+ /d/foo").filter(": .rules").filter("- e");
    a_rule_file_may_clear_what_it_inherits: Case::new(
        pattern_tree().file(".rules", "- foo\n- a\n").file("d/.rules", "!\n- a\n"), tree(), "-r").filter(": .rules");
    a_rule_file_that_only_the_destination_has_protects: Case::new(
        files(&["d/a"]), files(&["d/q", "d/keep"]).file("d/.rules", "- keep\n- .rules\n"), WITH_DELETE).filter(": .rules");
    a_rule_file_that_arrives_counts_for_delete_after: Case::new(
        files(&["d/a"]).file("d/.rules", "P keep\n"), files(&["d/keep", "d/drop"]), "-r --delete-after").filter(": .rules");
    a_rule_file_that_arrives_counts_for_delete_too_since_it_comes_last: Case::new(
        files(&["d/a"]).file("d/.rules", "P keep\n"), files(&["d/keep", "d/drop"]), "-r --delete").filter(": .rules");
    a_rule_file_that_changes_counts_as_new_for_delete_after: Case::new(
        files(&["a"]).file(".rules", "P new\n"), files(&["old", "new"]).file(".rules", "P old\n"), "-r --delete-after").filter(": .rules");
    a_rule_file_inside_an_extraneous_directory_protects: Case::new(
        files(&["a"]), files(&["d/keep", "d/drop"]).file("d/.rules", "P keep\n"), WITH_DELETE).filter(": .rules");
    a_list_of_excludes_in_each_directory: Case::new(
        pattern_tree().file(".ignore", "foo\n*.o\n"), files(&["foo", "q"]), WITH_DELETE).filter(":- .ignore");
    a_list_of_includes_in_each_directory: Case::new(
        pattern_tree().file(".keep", "foo\nd\n"), tree(), "-r").filter(":+ .keep").filter("- *");
    words_in_place_of_lines: Case::new(pattern_tree().file(".rules", "-_foo\n-_a\t+_b\t-_ab\n"), tree(), "-r").filter(":w .rules");
    words_with_a_space_after_the_prefix_are_an_error: Case::new(
        files(&["a", "foo"]).file(".rules", "- foo - a"), files(&["x"]), WITH_DELETE).filter(":w .rules");
    a_list_of_words: Case::new(pattern_tree().file(".ignore", "foo a.o # d"), tree(), "-r").filter(":w- .ignore");
    cvs_rules_for_all: Case::new(
        files(&["a.o", "core", "CVS/x", "tags", "keep", "d/x~", "d/.#y", "d/keep.c", ".git/HEAD"]),
        files(&["b.o", "gone", "d/old.o"]), WITH_DELETE).filter("-C");
    cvs_rules_per_directory: Case::new(
        files(&["a.o", "keep", "d/one", "d/two", "d/e/one"]).file("d/.cvsignore", "one two"), files(&["d/one"]), WITH_DELETE).filter(":C");
    a_rule_file_merged_once: Case::new(pattern_tree(), tree(), "-r").filter(". rules").beside("rules", "- foo\n# comment\n+ a\n- a*\n");
    a_list_merged_once: Case::new(pattern_tree(), tree(), "-r").filter(".- rules").beside("rules", "foo\na*\n");
    a_merged_file_may_merge: Case::new(pattern_tree(), tree(), "-r").filter("merge rules").beside("rules", ". more\n- a\n").beside("more", "- foo\n");
    a_merged_file_may_name_files_of_directories: Case::new(
        pattern_tree().file("d/.rules", "- foo\n"), tree(), "-r").filter("merge rules").beside("rules", ": .rules\n- a\n");
    a_rule_file_may_merge_another: Case::new(
        pattern_tree().file(".rules", ". .more\n- a\n").file(".more", "- foo\n"), tree(), "-r").filter(": .rules");
    a_rule_file_may_name_another_for_below: Case::new(
        pattern_tree().file(".rules", ": .more\n- a\n").file("d/.more", "- foo\n"), tree(), "-r").filter(": .rules");
    a_merged_file_for_one_side: Case::new(pattern_tree(), files(&["foo", "q"]), WITH_DELETE).filter(".s rules").beside("rules", "- foo\n- q\n");
    a_missing_merge_file_is_an_error: Case::new(pattern_tree(), files(&["x"]), WITH_DELETE).filter(". missing");
    a_rule_that_is_none_is_an_error: Case::new(pattern_tree(), files(&["x"]), WITH_DELETE).filter("what is this");
    a_modifier_that_does_not_fit_is_an_error: Case::new(pattern_tree(), files(&["x"]), WITH_DELETE).filter("-n foo");
    a_clear_with_a_pattern_is_an_error: Case::new(pattern_tree(), files(&["x"]), WITH_DELETE).filter("! foo");
    a_rule_without_a_pattern_is_an_error: Case::new(pattern_tree(), files(&["x"]), WITH_DELETE).filter("- ");
    an_anchor_in_a_rule_file_is_its_directory: Case::new(
        pattern_tree().file("d/.rules", "- /foo\n- /e/f/\n"), tree(), "-r").filter(": .rules");
    an_anchor_in_a_rule_file_without_slash_on_the_source: Case::new(
        pattern_tree().file(".rules", "- /foo\n").file("d/.rules", "- /foo\n"), tree(), "-r").filter(": .rules").from("src");
}

// Cases that random search found.
rsync_agrees_that! {
    a_new_name_in_a_missing_directory_is_refused: Case::new(files(&["b"]), tree(), "-r").from("src/b").to("dst/new").without_destination();
    nothing_to_send_makes_no_destination: Case::new(files(&["d/a"]), tree(), "-r --exclude=*").from("src/d").to("dst/new");
    nothing_to_send_makes_a_destination_with_a_slash:
        Case::new(files(&["a"]), tree(), "-r --exclude=*").from("src/a").without_destination();
    nothing_to_send_leaves_a_file_in_the_way_alone: Case::new(files(&["d/a"]), files(&["f"]), "-r --exclude=*").from("src/d").to("dst/f");
    nothing_to_send_into_a_missing_parent_is_refused:
        Case::new(files(&["a"]), tree(), "-r --exclude=*").from("src/a").to("dst/new").without_destination();
    nothing_to_send_to_a_name_that_leads_nowhere_is_refused:
        Case::new(files(&["a"]), tree().symlink("b", "b"), "-r --exclude=*").from("src/a").to("dst/b");
    nothing_to_send_to_a_symlink_to_nothing_is_well:
        Case::new(files(&["a"]), tree().symlink("c", "missing"), "-r --exclude=*").from("src/a").to("dst/c");
    directories_skipped_make_no_destination: Case::new(files(&["a"]), tree(), "-l").to("dst").without_destination();
    an_empty_directory_takes_the_name_of_a_missing_destination: Case::new(tree().dir("b"), tree(), "-r").from("src/b").to("dst/new");
    a_directory_emptied_by_rules_takes_the_name_of_a_missing_destination:
        Case::new(files(&["b/x"]), tree(), "-r --exclude=x").from("src/b").to("dst/new");
    an_empty_directory_goes_into_a_destination_with_a_slash: Case::new(tree().dir("b"), tree(), "-r").from("src/b").to("dst/new/");
    with_p_an_inherited_set_gid_bit_goes: Case::new(
        tree().dir("c").mode(0o2755).file("c/a/f", "x").dir("c/a"), tree(), "-rp").umask(0);
    without_p_an_inherited_set_gid_bit_stays: Case::new(
        tree().dir("b").dir("b/b").mode(0o555), tree().dir("b").mode(0o2755), "-r").umask(0o027);
    a_special_keeps_the_bits_of_what_it_replaces: Case::new(
        tree().fifo("a").socket("b").char_device("c", 1, 3).fifo("d").fifo("e"),
        tree().file("a", "x").mode(0o755).symlink("b", "x").socket("c").mode(0o600).char_device("d", 1, 5).mode(0o4711).dir("e").mode(0o700),
        "-rlD");
    a_file_does_not_keep_the_bits_of_what_it_replaces: Case::new(
        files(&["a", "b", "c"]), tree().fifo("a").mode(0o755).symlink("b", "x").dir("c").mode(0o700), "-rlD");
    a_single_file_knows_no_rule_file:
        Case::new(files(&["a"]).file(".rules", "- a\n"), tree(), "-r").filter(": .rules").from("src/a");
    a_directory_by_name_knows_its_own_rule_file_only: Case::new(
        files(&["d/a", "d/b"]).file(".rules", "- a\n").file("d/.rules", "- b\n"), tree(), "-r").filter(": .rules").from("src/d");
    rule_files_around_a_directory_by_name_protect_nothing_in_it: Case::new(
        files(&["d/a"]), files(&["d/old", "d/sub/old", "old"]).file(".rules", "P old\n").file("d/sub/.rules", "P old\n"),
        "-r --delete-after").filter(": .rules").from("src/d");
    rule_files_in_a_destination_protect_what_is_in_it: Case::new(
        files(&["d/a"]), files(&["d/old", "d/sub/old", "old"]).file(".rules", "P old\n"), "-r --delete-after").filter(": .rules");
    max_delete_counts_what_is_inside_of_a_directory_that_makes_way: Case::new(
        files(&["c"]), files(&["c/c"]), "-r --delete-after --max-delete=1");
    max_delete_stops_before_a_directory_can_make_way: Case::new(
        files(&["c"]), files(&["c/c", "c/d"]), "-r --delete-after --max-delete=0");
    max_delete_serves_what_makes_way_first: Case::new(
        files(&["c/c"]), files(&["b/a", "c/a/a", "c/c/c"]), "-r --delete-after --max-delete=1");
}
