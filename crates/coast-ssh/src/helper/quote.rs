//! Quoting for any shell. An SSH server passes a command to the user's login shell, so the command line must mean the same
//! to bash, dash, busybox ash and fish.

/// Quotes `arg` so that bash, dash, busybox ash and fish all read it back as the same single word.
///
/// Every byte stands between single quotes, except `'` and `\`, which stand outside as `\'` and `\\`: within single quotes
/// the POSIX shells read a backslash as itself, but fish reads `\'` and `\\` there as escapes. All other bytes are
/// unchanged, so a name that is not UTF-8 survives. `arg` must not contain NUL, which no argument can contain.
///
/// ```
/// assert_eq!(coast_ssh::quote(b"it's a \\"), b"'it'\\''s a '\\\\");
/// assert_eq!(coast_ssh::quote(b""), b"''");
/// ```
pub fn quote(arg: &[u8]) -> Vec<u8> {
    if arg.is_empty() {
        return b"''".to_vec();
    }
    let mut word = Vec::with_capacity(arg.len() + 2);
    let mut inside = false;
    for &byte in arg {
        let special = byte == b'\'' || byte == b'\\';
        if special == inside {
            word.push(b'\'');
            inside = !inside;
        }
        if special {
            word.push(b'\\');
        }
        word.push(byte);
    }
    if inside {
        word.push(b'\'');
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    /// Every shell that must agree, with the arguments that make it run one command line.
    const SHELLS: [&[&str]; 4] =
        [&["bash", "-c"], &["dash", "-c"], &["busybox", "ash", "-c"], &["fish", "-c"]];

    fn words_as_read_by(shell: &[&str], line: &[u8]) -> Vec<u8> {
        let output = Command::new(shell[0])
            .args(&shell[1..])
            .arg(OsStr::from_bytes(line))
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap_or_else(|error| panic!("{} must be installed for this test: {error}", shell[0]));
        assert!(output.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn assert_survives_every_shell(args: &[&[u8]]) {
        // `/usr/bin/printf`, because the builtins of the shells read formats differently.
        let mut line = b"/usr/bin/printf '%s,'".to_vec();
        let mut expected = Vec::new();
        for arg in args {
            line.push(b' ');
            line.extend(quote(arg));
            expected.extend_from_slice(arg);
            expected.push(b',');
        }
        for shell in SHELLS {
            assert_eq!(
                words_as_read_by(shell, &line),
                expected,
                "{shell:?} on {}",
                String::from_utf8_lossy(&line)
            );
        }
    }

    #[test]
    fn awkward_arguments_survive_every_shell() {
        assert_survives_every_shell(&[
            b"plain",
            b"",
            b"two words",
            b"it's",
            b"'",
            b"''",
            b"\\",
            b"\\\\",
            b"\\'",
            b"'\\''",
            b"\\n\\t\\x41",
            b"ends with \\",
            b"$HOME $(id) `id` ${x}",
            b"a\"b",
            b"*?[a-z]{a,b}~",
            b"-n",
            b"--",
            b"a;b&c|d<e>f(g)",
            b"#comment",
            b"!history",
            b"new\nline\ttab\rreturn",
            b"%s%d",
            "\u{fc}\u{4e16}\u{754c}".as_bytes(),
            b"^caret %percent @at =equals",
        ]);
    }

    #[test]
    fn every_byte_but_nul_survives_the_posix_shells() {
        let all: Vec<u8> = (1..=255).collect();
        let mut line = b"/usr/bin/printf %s ".to_vec();
        line.extend(quote(&all));
        for shell in &SHELLS[..3] {
            assert_eq!(words_as_read_by(shell, &line), all, "{shell:?}");
        }
    }

    #[test]
    fn every_ascii_byte_survives_fish() {
        let ascii: Vec<u8> = (1..=127).collect();
        assert_survives_every_shell(&[&ascii]);
    }

    #[test]
    fn every_short_mix_of_quotes_backslashes_and_letters_survives_every_shell() {
        let alphabet = [b'\'', b'\\', b'a', b' '];
        let mut mixes: Vec<Vec<u8>> = Vec::new();
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for d in alphabet {
                        mixes.push(vec![a, b, c, d]);
                    }
                }
            }
        }
        let args: Vec<&[u8]> = mixes.iter().map(Vec::as_slice).collect();
        assert_survives_every_shell(&args);
    }
}
