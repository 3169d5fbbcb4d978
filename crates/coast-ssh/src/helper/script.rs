//! The shell scripts that run on the host: one starts the helper, one takes it in. A helper that is started as root
//! must come from a place that only its user can write.
//!
//! Each is one line without single quotes, backslashes or exclamation marks, so that it survives any login shell
//! between single quotes.

use crate::helper::quote::quote;

/// Whether `$2` is of the type `$1` (`d` or `-`, as `ls` shows it), the user's own, and closed to the writing of all
/// others. What `ls -d` shows is of a symlink itself, never of its target. Where an access list gives others a right, the
/// group's place shows it. Without `ls` nothing is safe.
pub(crate) const OWN: &str = "\
own() { case $(ls -ld \"$2\" 2>/dev/null) in $1????-??-*) [ -O \"$2\" ];; *) return 1;; esac; };";

/// Runs `$h` with the arguments, as root if `$m` says so and it can be. The helper never exits with 1, so a 1 is sudo's
/// own. Ends only by exit, or returns 126 if the program cannot be started.
pub(crate) const RUN: &str = "\
run() { \
if [ \"$m\" = never ] || [ \"$(id -u)\" = 0 ]; then :; else \
if command -v sudo >/dev/null 2>&1; then LC_ALL=C sudo -n -- \"$h\" \"$@\"; r=$?; [ $r = 1 ] || exit $r; \
echo coast-sudo refused; else echo coast-sudo missing; fi; \
[ \"$m\" = always ] && exit 1; \
fi; \
\"$h\" \"$@\"; };";

/// Looks for the helper in the directories `$3` and starts the first one that can be started. `$1` is the use of sudo,
/// `$2` names the helpers as `PLATFORM=NAME,...`, the rest are the helper's arguments. Runs behind `OWN` and `RUN`.
///
/// What is started may be root a moment later, so both the directory and the file must be as `OWN` demands: nobody but
/// the user, or root, can have put the file there or have written to it. A helper that is not so counts as missing, and
/// `UPLOAD` replaces it or says why it cannot. An empty file, as a crash may leave one, is no helper: a shell would run it
/// as a script.
pub(crate) const START: &str = "\
m=$1; v=,$2; l=$3; shift 3; u=$(uname -sm); n=; \
case $v in *\",$u=\"*) n=${v#*\",$u=\"};; *,any=*) n=${v#*,any=};; esac; n=${n%%,*}; \
[ -n \"$n\" ] || { echo coast-platform $u; exit 127; }; \
for d in $l; do \
case $d in *-) d=$d$(id -u);; esac; \
[ -s \"$d/helper-$n\" ] && [ -x \"$d/helper-$n\" ] && own d \"$d\" && own - \"$d/helper-$n\" || continue; \
case $d in /*) h=$d/helper-$n;; *) h=$PWD/$d/helper-$n;; esac; \
run \"$@\"; r=$?; [ $r = 126 ] || exit $r; echo coast-again; \
done; echo coast-missing $n; exit 127";

/// Starts the helper `$2`, wherever it is. `$1` is the use of sudo, the rest are the helper's arguments.
pub(crate) const START_PATH: &str = "m=$1; h=$2; shift 2; run \"$@\"";

/// Receives a helper of `$2` bytes named `$1` on standard input and puts it into the first of the directories `$3...`
/// that will do. Every directory that will not is told on a line of its own, `coast-no STAGE DIRECTORY REASON`; success
/// is `coast-at DIRECTORY`.
///
/// The size is checked before the rename: a connection that breaks in the middle leaves nothing under the final name. A
/// directory is used only if it is as `OWN` demands. One that others can write is not closed and then used: what they put
/// there before could be among the names that are written to. Whether programs may be started from a directory is found
/// out by starting one. What stands in the helper's place is replaced by the rename, which a symlink to a directory would
/// lead astray and which a directory forbids. Left-overs of broken uploads go after an hour, helpers of other versions
/// after a month. Runs behind `OWN`.
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

/// The command line that has `sh` run the parts of a script with `args`, in whatever login shell it is read.
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
        for script in [OWN, RUN, START, START_PATH, UPLOAD] {
            assert!(!script.contains(['\'', '\\', '\n', '!']), "{script}");
        }
    }
}
