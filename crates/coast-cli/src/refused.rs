//! The options of rsync that `coast sync` does not take, each with its replacement. The names help users whose scripts ran under
//! rsync: "unknown option" alone would not say what to change.

/// One option of rsync, or several options with the same hint.
struct Refused {
    /// The spellings, without values.
    names: &'static [&'static str],
    /// The replacement, as a sentence.
    hint: &'static str,
}

const NOT_SUPPORTED: &str = "coast has no replacement.";
const NO_DAEMON: &str = "coast connects over SSH only, not to rsync's daemon.";
const DELETES_LAST: &str = "use --delete: deletion always comes last, after everything has arrived.";
const OWN_PROTOCOL: &str =
    "leave it out: coast has a protocol of its own, and both ends always have the same version.";
const OWN_COMPRESSION: &str =
    "leave it out: -z compresses with zstd at a level that follows the link's speed.";
const ALWAYS_SAFE: &str = "leave it out: remote paths never pass through a shell unquoted.";
const ALWAYS_CONFINED: &str = "leave it out: symlinks are never followed, on either side.";

const REFUSED: &[Refused] = &[
    Refused { names: &["--info", "--debug"], hint: "use -v, -i, --stats or --json." },
    Refused { names: &["--stderr"], hint: "leave it out: messages about problems go to standard error." },
    Refused { names: &["--no-motd", "--password-file", "--early-input", "--contimeout"], hint: NO_DAEMON },
    Refused { names: &["--daemon", "--config", "--dparam", "--detach"], hint: NO_DAEMON },
    Refused { names: &["--address", "--sockopts", "--blocking-io"], hint: NOT_SUPPORTED },
    Refused { names: &["--port"], hint: "give the port as ssh://HOST:PORT/PATH or -e \"ssh -p PORT\"." },
    Refused {
        names: &["--inc-recursive", "--i-r"],
        hint: "leave it out: directories are always transferred while others are still being read.",
    },
    Refused { names: &["--relative", "-R", "--implied-dirs"], hint: "give the destination its whole path." },
    Refused {
        names: &["--backup", "-b", "--backup-dir", "--suffix"],
        hint: "coast keeps no old versions; copy the destination before the run.",
    },
    Refused {
        names: &["--update", "-u"],
        hint: "coast compares content: a file is sent when its content differs.",
    },
    Refused {
        names: &["--inplace", "--append", "--append-verify", "--write-devices", "--copy-devices"],
        hint: "leave it out: a file is replaced at once when it is complete and checked, never written in place.",
    },
    Refused {
        names: &["--dirs", "-d", "--old-dirs", "--old-d"],
        hint: "use -r with --exclude='/*/*' to stop below the first level.",
    },
    Refused {
        names: &["--mkpath"],
        hint: "use coast push, which creates missing parents of the destination, or create them first.",
    },
    Refused {
        names: &[
            "--copy-links",
            "-L",
            "--copy-unsafe-links",
            "--copy-dirlinks",
            "-k",
            "--keep-dirlinks",
            "-K",
        ],
        hint: "symlinks are copied as they are with -l and never followed.",
    },
    Refused { names: &["--safe-links"], hint: "leave it out or leave out -l: links are copied as they are." },
    Refused { names: &["--munge-links"], hint: NOT_SUPPORTED },
    Refused { names: &["--insecure-links", "--confine-root"], hint: ALWAYS_CONFINED },
    Refused { names: &["--hard-links", "-H"], hint: "leave it out: each name becomes a file of its own." },
    Refused { names: &["--chmod"], hint: "use -p or -E to take permissions from the source." },
    Refused {
        names: &["--acls", "-A", "--xattrs", "-X"],
        hint: "ACLs and extended attributes are not copied.",
    },
    Refused { names: &["--drop-D"], hint: "leave out -D." },
    Refused {
        names: &["--atimes", "-U", "--open-noatime", "--crtimes", "-N"],
        hint: "only modification times are kept, with -t.",
    },
    Refused {
        names: &["--omit-dir-times", "-O", "--omit-link-times", "-J"],
        hint: "leave out -t to keep no times.",
    },
    Refused {
        names: &["--super", "--fake-super"],
        hint: "use --rsync-path=\"sudo rsync\" or --sudo=always to receive as root.",
    },
    Refused { names: &["--copy-as"], hint: "use --chown=USER:GROUP, or log in as that user." },
    Refused { names: &["--preallocate"], hint: "leave it out: space is allocated while a file is written." },
    Refused {
        names: &["--whole-file", "-W", "--block-size", "-B"],
        hint: "leave it out: for each file the cheaper of delta and whole content is sent.",
    },
    Refused {
        names: &["--checksum-choice", "--cc", "--checksum-seed"],
        hint: "leave it out: content is compared by blake3, always.",
    },
    Refused { names: &["--one-file-system", "-x"], hint: "exclude the mount points with --exclude." },
    Refused { names: &["--existing", "--ignore-non-existing", "--ignore-existing"], hint: NOT_SUPPORTED },
    Refused { names: &["--remove-source-files"], hint: "the source is never changed." },
    Refused { names: &["--del", "--delete-before", "--delete-during", "--delete-delay"], hint: DELETES_LAST },
    Refused {
        names: &["--delete-missing-args", "--ignore-missing-args"],
        hint: "coast sync takes one source, and it must exist.",
    },
    Refused {
        names: &["--ignore-errors"],
        hint: "nothing is deleted after a read error in the source: make it readable or exclude it.",
    },
    Refused { names: &["--force"], hint: "use --delete: a directory in the way of a file is then replaced." },
    Refused {
        names: &["--max-size", "--min-size"],
        hint: "select files by name with --exclude and --include.",
    },
    Refused {
        names: &["--max-alloc"],
        hint: "leave it out: memory is bounded whatever the size of the tree.",
    },
    Refused {
        names: &["--partial-dir"],
        hint: "use --partial: the arrived part of a file is kept outside of the destination for the next run.",
    },
    Refused { names: &["--prune-empty-dirs", "-m"], hint: "exclude the directories with --exclude." },
    Refused { names: &["--numeric-ids"], hint: "use --chown with numbers, or leave out -o and -g." },
    Refused { names: &["--usermap", "--groupmap"], hint: "use --chown=USER:GROUP." },
    Refused {
        names: &["--ignore-times", "-I"],
        hint: "use -c, or leave out -t: coast then compares content.",
    },
    Refused {
        names: &["--size-only"],
        hint: "leave out -t: coast then compares the content of files of equal size.",
    },
    Refused { names: &["--modify-window", "-@"], hint: "leave out -t: coast then compares content." },
    Refused {
        names: &["--temp-dir", "-T"],
        hint: "leave it out: coast stages each file where a rename can reach its place.",
    },
    Refused {
        names: &["--fuzzy", "-y"],
        hint: "leave it out: a moved or copied file is found by its content and not sent again.",
    },
    Refused { names: &["--compare-dest", "--copy-dest", "--link-dest"], hint: NOT_SUPPORTED },
    Refused {
        names: &[
            "--compress-choice",
            "--zc",
            "--compress-level",
            "--zl",
            "--compress-threads",
            "--zt",
            "--skip-compress",
            "--old-compress",
            "--new-compress",
        ],
        hint: OWN_COMPRESSION,
    },
    Refused { names: &["--cvs-exclude", "-C"], hint: "give the patterns with --exclude or --exclude-from." },
    Refused { names: &["-F"], hint: "use --filter='dir-merge /.rsync-filter'." },
    Refused { names: &["--files-from"], hint: "use --include-from with --exclude='*'." },
    Refused { names: &["--from0", "-0"], hint: "give one rule per line, or repeat --filter." },
    Refused { names: &["--old-args", "--secluded-args", "--protect-args", "-s"], hint: ALWAYS_SAFE },
    Refused { names: &["--trust-sender"], hint: "leave it out: the other side is never trusted." },
    Refused { names: &["--outbuf"], hint: "leave it out: output is written line by line." },
    Refused {
        names: &["--8-bit-output", "-8"],
        hint: "leave it out: valid UTF-8 is printed as it is; --json is exact.",
    },
    Refused { names: &["--human-readable", "-h"], hint: "leave it out; for help use --help." },
    Refused { names: &["--remote-option", "-M"], hint: "leave it out: both sides get every option." },
    Refused {
        names: &["--out-format", "--log-format", "--log-file", "--log-file-format"],
        hint: "use -i or --json and redirect the output.",
    },
    Refused { names: &["--list-only"], hint: "use -n -v to see what would be sent." },
    Refused {
        names: &["--stop-after", "--time-limit", "--stop-at"],
        hint: "use timeout(1); files that have arrived stay.",
    },
    Refused { names: &["--fsync"], hint: "run sync(1) at the destination." },
    Refused { names: &["--write-batch", "--only-write-batch", "--read-batch"], hint: NOT_SUPPORTED },
    Refused { names: &["--protocol"], hint: OWN_PROTOCOL },
    Refused { names: &["--iconv"], hint: "leave it out: names are bytes and arrive unchanged." },
    Refused {
        names: &["--ipv4", "-4", "--ipv6", "-6"],
        hint: "give an address: 192.0.2.1:PATH or [2001:db8::1]:PATH.",
    },
    Refused { names: &["--server", "--sender"], hint: OWN_PROTOCOL },
];

/// Returns the hint for an option of rsync that `coast sync` does not take, or `None` if rsync does not have the option either.
/// `option` is one spelling, with or without `=VALUE`.
pub(crate) fn hint(option: &str) -> Option<&'static str> {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    if let Some(refused) = REFUSED.iter().find(|refused| refused.names.contains(&name)) {
        return Some(refused.hint);
    }
    name.strip_prefix("--no-").map(
        |_| "leave out the option that it turns off; of -a, which is -rlptgoD, give the letters you want.",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The options of rsync 3.5.0, as its manual's summary lists them.
    const RSYNC_OPTIONS: &str = include_str!("rsync_options.txt");

    #[test]
    fn every_option_of_rsync_is_taken_or_refused_with_a_hint() {
        let taken: HashSet<String> = crate::args::sync::option_names();
        for option in RSYNC_OPTIONS.lines() {
            let refused = hint(option).is_some();
            assert_ne!(
                taken.contains(option),
                refused,
                "{option}: taken and refused must exclude each other"
            );
        }
        assert!(RSYNC_OPTIONS.lines().count() > 150);
    }

    #[test]
    fn values_do_not_hide_an_option() {
        assert_eq!(hint("--backup-dir=x"), hint("--backup"));
        assert!(hint("--no-perms").is_some());
        assert!(hint("--no-such-thing-in-rsync").is_some_and(|hint| hint.contains("leave out")));
        assert_eq!(hint("--frobnicate"), None);
    }

    #[test]
    fn no_option_is_listed_twice() {
        let mut seen = HashSet::new();
        for name in REFUSED.iter().flat_map(|refused| refused.names) {
            assert!(seen.insert(name), "{name}");
        }
    }
}
