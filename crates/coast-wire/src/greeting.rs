//! How a helper begins: with a line that people can read too, before the first frame, and with the version of all that follows.

/// The version once, for the number and for the text.
macro_rules! protocol_version {
    () => {
        12
    };
}

/// Version of the protocol; both sides must speak the same one. A change of any message is another version.
pub const PROTOCOL_VERSION: u32 = protocol_version!();

/// The first bytes on a helper's standard output; frames follow.
pub const GREETING: &str = concat!("coast-helper ", protocol_version!(), "\n");

/// Every helper's greeting begins with this, whatever its version. The version follows in decimal digits, and a newline.
pub const GREETING_PREFIX: &str = "coast-helper ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_says_the_version() {
        assert_eq!(GREETING, format!("{GREETING_PREFIX}{PROTOCOL_VERSION}\n"));
    }
}
