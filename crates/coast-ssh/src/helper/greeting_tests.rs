//! The output of a host before and instead of the greeting.

use super::*;
use coast_wire::GREETING;

#[test]
fn the_greeting_of_this_version_fits() {
    let expected = (PROTOCOL_VERSION.to_string(), GREETING.len());
    let found = find_greeting(GREETING.as_bytes()).unwrap();
    assert_eq!((found.0.to_owned(), found.1), expected);
}

#[test]
fn a_greeting_is_found_behind_other_output() {
    assert_eq!(find_greeting(b"coast-helper 1\nrest"), Some(("1", 15)));
    assert_eq!(find_greeting(b"Welcome!\ncoast-helper 12\n"), Some(("12", 25)));
    assert_eq!(find_greeting(b"no newlinecoast-helper 1\n"), Some(("1", 25)));
    assert_eq!(find_greeting(b"coast-helper is great\ncoast-helper 1\n"), Some(("1", 37)));
}

#[test]
fn an_incomplete_or_odd_greeting_is_none() {
    for seen in [
        "",
        "coast-helper ",
        "coast-helper 1",
        "coast-helper x\n",
        "coast-helper 1234567890\n",
        "coast-helper\n",
    ] {
        assert_eq!(find_greeting(seen.as_bytes()), None, "{seen:?}");
    }
}

#[test]
fn the_lines_of_the_script_are_read_from_the_last_start() {
    let said = |seen: &str, word: &str| {
        let preamble = Preamble { seen: seen.as_bytes().to_vec(), start: Vec::new() };
        preamble.script_line(word).map(str::to_owned)
    };
    assert_eq!(said("motd\ncoast-missing abc\n", "missing").as_deref(), Some("abc"));
    assert_eq!(said("motdcoast-platform Linux riscv64\n", "platform").as_deref(), Some("Linux riscv64"));
    assert_eq!(said("coast-sudo refused\ncoast-again\ncoast-helper 1\n", "sudo"), None);
    assert_eq!(said("coast-missing", "missing"), None);
}

#[test]
fn sudos_refusals_are_told_apart() {
    assert_eq!(read_refusal("sudo: a password is required\n"), SudoRefusal::WantsPassword);
    let said = "user is not in the sudoers file.";
    assert_eq!(read_refusal(&format!("noise\n{said}\n")), SudoRefusal::NotAllowed(said.to_owned()));
    let said = "Sorry, user u is not allowed to execute '/h' as root on box.";
    assert_eq!(read_refusal(said), SudoRefusal::NotAllowed(said.to_owned()));
    let said = "sudo: unable to resolve host box";
    assert_eq!(read_refusal(said), SudoRefusal::Other(said.to_owned()));
    assert_eq!(read_refusal(""), SudoRefusal::Other(String::new()));
}
