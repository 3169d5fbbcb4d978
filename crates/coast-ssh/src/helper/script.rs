//! The shell scripts that run on the host: [`START`] starts the helper, [`UPLOAD`] receives it. The helper may be started
//! as root, so its file and its directory must be writable by its user alone.
//!
//! Each script is one line without single quotes, backslashes or exclamation marks, so that every login shell reads it
//! unchanged between single quotes.

use crate::helper::quote::quote;

/// Defines `own`: whether `$2` has the type `$1` (`d` or `-`, as `ls` shows it), belongs to the user, and is writable by no
/// other user. `ls -d` shows a symlink itself and never its target. The group column of `ls` shows a right that an ACL
/// gives to other users. Without `ls` nothing counts as safe.
pub(crate) const OWN: &str = "\
own() { case $(ls -ld \"$2\" 2>/dev/null) in $1????-??-*) [ -O \"$2\" ];; *) return 1;; esac; };";

/// Defines `run`: runs `$h` with the arguments, with sudo as `$m` says. An exit code of 1 is sudo's, because the helper
/// never exits with 1. After sudo has run the helper, the script exits with its code; otherwise `run` returns a code, 126
/// if the program cannot be started.
pub(crate) const RUN: &str = "\
run() { \
if [ \"$m\" = never ] || [ \"$(id -u)\" = 0 ]; then :; else \
if command -v sudo >/dev/null 2>&1; then LC_ALL=C sudo -n -- \"$h\" \"$@\"; r=$?; [ $r = 1 ] || exit $r; \
echo coast-sudo refused; else echo coast-sudo missing; fi; \
[ \"$m\" = always ] && exit 1; \
fi; \
\"$h\" \"$@\"; };";

/// Defines `choose`: sets `$n` to the name of the helper for this platform. `$v` names the helpers as `,PLATFORM=NAME,...`. And
/// defines `found`: whether the directory `$1` has this helper; `$h` is then its path. Needs [`OWN`] before it.
///
/// The helper may run as root, so both its directory and its file must pass `own`: then only the user or root can have
/// written the file. A file that does not pass counts as missing, and [`UPLOAD`] replaces it or reports why it cannot. An
/// empty file, which a crash may leave, counts as missing too: a shell would run it as an empty script.
pub(crate) const FIND: &str = "\
choose() { u=$(uname -sm); n=; \
case $v in *\",$u=\"*) n=${v#*\",$u=\"};; *,any=*) n=${v#*,any=};; esac; n=${n%%,*}; [ -n \"$n\" ]; }; \
found() { d=$1; \
case $d in *-) d=$d$(id -u);; esac; \
[ -s \"$d/helper-$n\" ] && [ -x \"$d/helper-$n\" ] && own d \"$d\" && own - \"$d/helper-$n\" || return 1; \
case $d in /*) h=$d/helper-$n;; *) h=$PWD/$d/helper-$n;; esac; };";

/// Looks for the helper in the directories `$3` and starts the first helper that can be started. `$1` is the use of sudo,
/// `$2` names the helpers as `PLATFORM=NAME,...`, and the helper's arguments follow. Needs [`OWN`], [`FIND`] and [`RUN`]
/// before it.
pub(crate) const START: &str = "\
m=$1; v=,$2; l=$3; shift 3; \
choose || { echo coast-platform $u; exit 127; }; \
for d in $l; do \
found \"$d\" || continue; \
run \"$@\"; r=$?; [ $r = 126 ] || exit $r; echo coast-again; \
done; echo coast-missing $n; exit 127";

/// Starts the helper at the path `$2`. `$1` is the use of sudo, and the helper's arguments follow. Needs [`RUN`] before it.
pub(crate) const START_PATH: &str = "m=$1; h=$2; shift 2; run \"$@\"";

/// Receives a helper of `$2` bytes named `$1` on standard input and stores it in the first of the directories `$3...` that
/// can take it. Prints `coast-no STAGE DIRECTORY REASON` for every directory that cannot, and `coast-at DIRECTORY` for
/// success. Needs [`OWN`] before it.
///
/// - The size is checked before the rename, so a connection that breaks leaves nothing under the final name.
/// - A directory is used only if it passes `own`. A directory that other users can write to is not closed with `chmod` and
///   then used, because they may have created the names that the script writes to.
/// - Starting a small script shows whether programs can be started from the directory.
/// - The rename replaces an older file of that name. `mv` would follow a symlink to a directory, so a symlink is removed
///   first; a directory of that name is reported.
/// - Files of broken uploads are removed after an hour, helpers of other versions after a month.
pub(crate) const UPLOAD: &str = "\
n=$1; s=$2; shift 2; set -f; umask 077; LC_ALL=C; export LC_ALL; i=$(id -u); \
for d in \"$@\"; do \
case $d in *-) d=$d$i;; esac; \
t=$d/.new-$n-$$; f=$d/helper-$n; \
case $d in /*) ;; */*) mkdir -p \"${d%/*}\" 2>/dev/null;; esac; \
if [ -L \"$d\" ]; then echo coast-no unsafe \"$d\" it is a symlink; continue; fi; \
if [ -d \"$d\" ] || e=$(mkdir -m 700 \"$d\" 2>&1) || [ -d \"$d\" ]; then :; else echo coast-no make \"$d\" $e; continue; fi; \
if [ -O \"$d\" ]; then :; else echo coast-no unsafe \"$d\" it belongs to another user; continue; fi; \
if own d \"$d\"; then :; else echo coast-no unsafe \"$d\" others may write to it, chmod go-w would close it: $(ls -ld \"$d\" 2>&1); continue; fi; \
if [ -L \"$f\" ]; then rm -f \"$f\"; elif [ -d \"$f\" ]; then echo coast-no store \"$d\" \"${f##*/}\" is a directory; continue; fi; \
if e=$(chmod 700 \"$d\" 2>&1); then :; else echo coast-no make \"$d\" $e; continue; fi; \
if e=$( { rm -f \"$t\" && echo : > \"$t\"; } 2>&1 ) && e=$(chmod 700 \"$t\" 2>&1); then :; \
else rm -f \"$t\"; echo coast-no write \"$d\" $e; continue; fi; \
if e=$(\"$t\" 2>&1 </dev/null); then :; else rm -f \"$t\"; echo coast-no run \"$d\" $e; continue; fi; \
e=$( { cat > \"$t\"; } 2>&1 ); c=$(wc -c < \"$t\"); \
if [ \"$c\" -eq \"$s\" ] && e=$(mv -f \"$t\" \"$f\" 2>&1); then echo coast-at \"$d\"; \
set +f; find \"$d\" -name \".new-*\" -mmin +60 -exec rm -f {} + 2>/dev/null; \
find \"$d\" -name \"helper-*\" -mtime +30 -exec rm -f {} + 2>/dev/null; exit 0; fi; \
rm -f \"$t\"; cat >/dev/null; echo coast-no store \"$d\" $e - $c of $s bytes arrived; exit 1; \
done; exit 1";

/// The command line with which every login shell has `sh` run the parts of a script with `args`.
pub(crate) fn script_line(parts: &[&str], args: &[&[u8]]) -> Vec<u8> {
    let mut line = b"sh -c ".to_vec();
    line.extend(quote(parts.join(" ").as_bytes()));
    line.extend_from_slice(b" coast");
    for arg in args {
        line.push(b' ');
        line.extend(quote(arg));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_survive_single_quotes() {
        for script in [OWN, FIND, RUN, START, START_PATH, UPLOAD] {
            assert!(!script.contains(['\'', '\\', '\n', '!']), "{script}");
        }
    }
}
