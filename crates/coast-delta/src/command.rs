//! The commands a delta is made of, as librsync writes them: *literal* carries bytes of the new file, *copy* names a
//! range of the basis. Numbers are big-endian, in the shortest of 1, 2, 4 or 8 bytes.

/// Literal of 1 to 64 bytes: the length is the command.
const LITERAL_64: u8 = 0x40;
/// Literal with a length of 1, 2, 4 or 8 bytes, in this order.
const LITERAL_N1: u8 = 0x41;
const LITERAL_N8: u8 = 0x44;
/// Copy with an offset and a length of 1, 2, 4 or 8 bytes each; the length varies fastest.
const COPY_N1_N1: u8 = 0x45;
const COPY_N8_N8: u8 = 0x54;

/// The most bytes a command takes without its literal.
pub(crate) const MAX_COMMAND_BYTES: usize = 17;

/// One step in building the new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// Append these bytes (at least one).
    Literal(&'a [u8]),
    /// Append this range of the basis. `len` is not zero and the range ends within `u64`.
    Copy { offset: u64, len: u64 },
}

impl Command<'_> {
    /// Appends the command to a delta. An empty one is nothing, and leaves the delta as it is.
    pub(crate) fn write(self, delta: &mut Vec<u8>) {
        match self {
            Command::Literal([]) | Command::Copy { len: 0, .. } => {}
            Command::Literal(bytes) => {
                let len = bytes.len() as u64;
                match u8::try_from(len) {
                    Ok(len @ ..=LITERAL_64) => delta.push(len),
                    _ => {
                        delta.push(LITERAL_N1 + width_class(len));
                        write_number(len, delta);
                    }
                }
                delta.extend_from_slice(bytes);
            }
            Command::Copy { offset, len } => {
                delta.push(COPY_N1_N1 + 4 * width_class(offset) + width_class(len));
                write_number(offset, delta);
                write_number(len, delta);
            }
        }
    }
}

/// The width a number is written with: 0, 1, 2 or 3 for 1, 2, 4 or 8 bytes.
fn width_class(number: u64) -> u8 {
    match number {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

fn write_number(number: u64, delta: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    delta.extend_from_slice(&bytes[8 - (1 << width_class(number))..]);
}

/// Takes a delta apart. Gives each command, or the one error that ends it.
#[derive(Debug, Clone)]
pub(crate) struct Commands<'a> {
    rest: &'a [u8],
    delta_len: usize,
}

impl<'a> Commands<'a> {
    pub(crate) fn new(delta: &'a [u8]) -> Self {
        Self { rest: delta, delta_len: delta.len() }
    }

    fn parse(&mut self, command: u8) -> Result<Command<'a>, CommandKind> {
        match command {
            0 => Err(CommandKind::Unknown { command }),
            1..=LITERAL_64 => self.literal(command.into()),
            LITERAL_N1..=LITERAL_N8 => {
                let len = self.number(command - LITERAL_N1)?;
                self.literal(len)
            }
            COPY_N1_N1..=COPY_N8_N8 => {
                let offset = self.number((command - COPY_N1_N1) / 4)?;
                let len = self.number((command - COPY_N1_N1) % 4)?;
                if len == 0 {
                    return Err(CommandKind::Empty);
                }
                offset.checked_add(len).ok_or(CommandKind::Overflow { offset, len })?;
                Ok(Command::Copy { offset, len })
            }
            _ => Err(CommandKind::Unknown { command }),
        }
    }

    fn literal(&mut self, len: u64) -> Result<Command<'a>, CommandKind> {
        if len == 0 {
            return Err(CommandKind::Empty);
        }
        let cut = CommandKind::Cut { wanted_bytes: len, left_bytes: self.rest.len() };
        let len = usize::try_from(len).map_err(|_| cut)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(cut)?;
        self.rest = rest;
        Ok(Command::Literal(bytes))
    }

    fn number(&mut self, width_class: u8) -> Result<u64, CommandKind> {
        let width = 1usize << width_class;
        let (bytes, rest) = self
            .rest
            .split_at_checked(width)
            .ok_or(CommandKind::Cut { wanted_bytes: width as u64, left_bytes: self.rest.len() })?;
        self.rest = rest;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&command, rest) = self.rest.split_first()?;
        let at = self.delta_len - self.rest.len();
        self.rest = rest;
        let parsed = self.parse(command).map_err(|kind| CommandError { at, kind });
        if parsed.is_err() {
            self.rest = &[];
        }
        Some(parsed)
    }
}

/// A delta that is not made of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delta's command at byte {at} {kind}")]
pub struct CommandError {
    /// Where in the delta the command starts, in bytes.
    pub at: usize,
    /// The fault in it.
    pub kind: CommandKind,
}

/// The fault in a command of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandKind {
    /// No command has this number (the end command of librsync has no place in a piece either).
    #[error("is unknown ({command:#04x})")]
    Unknown { command: u8 },
    /// A literal or copy of nothing, which would let a delta grow without the file growing.
    #[error("has no effect")]
    Empty,
    /// The delta ends within the command.
    #[error("is cut off: {wanted_bytes} bytes wanted, {left_bytes} left")]
    Cut {
        /// Bytes that should follow.
        wanted_bytes: u64,
        /// Bytes that the delta has left for it.
        left_bytes: usize,
    },
    /// A copy that ends beyond what 64 bits count.
    #[error("copies {len} bytes from {offset}, which is no range")]
    Overflow {
        /// Offset in the basis, in bytes.
        offset: u64,
        len: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(delta: &[u8]) -> Vec<Result<Command<'_>, CommandError>> {
        Commands::new(delta).collect()
    }

    #[test]
    fn commands_of_every_width_come_back() {
        const EDGES: [u64; 9] = [1, 63, 64, 65, 0xff, 0x100, 0xffff, 0x1_0000, 0x1_0000_0000];
        let literal = vec![9; 0x1_0001];
        let literals = EDGES
            .iter()
            .filter_map(|&len| Some(Command::Literal(literal.get(..usize::try_from(len).ok()?)?)));
        let copies =
            EDGES.iter().flat_map(|&offset| EDGES.map(|len| Command::Copy { offset: offset - 1, len }));
        for command in literals.chain(copies) {
            let mut delta = Vec::new();
            command.write(&mut delta);
            assert_eq!(parsed(&delta), [Ok(command)]);
            let overhead =
                if let Command::Literal(bytes) = command { delta.len() - bytes.len() } else { delta.len() };
            assert!(overhead <= MAX_COMMAND_BYTES);
        }
    }

    #[test]
    fn commands_of_nothing_are_not_written() {
        let mut delta = Vec::new();
        Command::Literal(&[]).write(&mut delta);
        Command::Copy { offset: 7, len: 0 }.write(&mut delta);
        assert_eq!(delta, []);
    }

    #[test]
    fn broken_commands_end_the_delta_with_an_error() {
        let failed = |delta: &[u8]| {
            let commands = parsed(delta);
            *commands.last().unwrap().as_ref().unwrap_err()
        };
        let good = [2, b'o', b'k'];
        let with = |bad: &[u8]| [&good[..], bad].concat();
        assert_eq!(failed(&with(&[0])), CommandError { at: 3, kind: CommandKind::Unknown { command: 0 } });
        assert_eq!(
            failed(&with(&[0x55, 1])),
            CommandError { at: 3, kind: CommandKind::Unknown { command: 0x55 } }
        );
        assert_eq!(failed(&[0x41, 0]).kind, CommandKind::Empty);
        assert_eq!(failed(&[0x45, 9, 0]).kind, CommandKind::Empty);
        assert_eq!(failed(&[3, 1]).kind, CommandKind::Cut { wanted_bytes: 3, left_bytes: 1 });
        assert_eq!(failed(&[0x42, 1]).kind, CommandKind::Cut { wanted_bytes: 2, left_bytes: 1 });
        let huge = [&[0x44][..], &[0xff; 8]].concat();
        assert_eq!(failed(&huge).kind, CommandKind::Cut { wanted_bytes: u64::MAX, left_bytes: 0 });
        let overflow = [&[COPY_N8_N8][..], &[0xff; 16]].concat();
        assert_eq!(failed(&overflow).kind, CommandKind::Overflow { offset: u64::MAX, len: u64::MAX });
    }
}
