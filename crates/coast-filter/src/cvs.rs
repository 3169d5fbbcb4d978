//! The patterns that CVS ignores by default, for a `-C` rule.

/// The list of rsync's manual page under `--cvs-exclude`, whitespace-separated.
pub(crate) const DEFAULT_IGNORES: &[u8] = b"RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state \
    .nse_depinfo *~ #* .#* ,* _$* *$ *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe \
    *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";
