//! Matches tokens against bytes in time linear in both: a set of pattern positions, one bit each, moves over the
//! text byte by byte. No pattern can make it backtrack, and a path can be fed directory by directory, so that a
//! name costs only its own bytes.

use crate::glob::{ByteSet, Token};

/// Where in a path a pattern may begin to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the beginning only.
    Beginning,
    /// At the beginning of every component.
    EveryComponent,
}

/// A compiled pattern. Its state is a set of positions in `words` words: bit *i* says that the next token to
/// match is token *i*, the bit behind the last token that the pattern has matched.
#[derive(Debug)]
pub(crate) struct Automaton {
    words: usize,
    start: Start,
    /// Maps a byte to its row in `steps`; bytes that the pattern does not tell apart share one.
    row_of: Box<[u8; 256]>,
    /// Rows of two sets: the positions that consume the byte and move on, and the stars that take it and stay.
    steps: Box<[u64]>,
    /// The positions of stars, which may match nothing.
    stars: Box<[u64]>,
    /// The positions before any byte.
    initial: Box<[u64]>,
    accept: usize,
}

/// States of up to this many words need no allocation. Longer is only a pattern of nearly
/// [`MAX_PATTERN_BYTES`](crate::MAX_PATTERN_BYTES) behind the wildcards of its directory.
const INLINE_WORDS: usize = crate::MAX_PATTERN_BYTES / 64 + 1;

impl Automaton {
    pub(crate) fn new(tokens: &[Token], start: Start) -> Self {
        let words = tokens.len() / 64 + 1;
        let mut stars = vec![0; words];
        for (index, token) in tokens.iter().enumerate() {
            if matches!(token, Token::Star | Token::StarStar) {
                set_bit(&mut stars, index);
            }
        }

        // Bytes with equal rows share them. Rows differ only where tokens name different bytes, so there are few.
        let mut row_of = Box::new([0; 256]);
        let mut steps: Vec<u64> = Vec::new();
        let mut row = vec![0; 2 * words];
        for byte in 0..=u8::MAX {
            row.fill(0);
            let (moves, stays) = row.split_at_mut(words);
            for (index, token) in tokens.iter().enumerate() {
                match token {
                    Token::Byte(literal) if *literal == byte => set_bit(moves, index),
                    Token::Class(set) if set.contains(byte) => set_bit(moves, index),
                    Token::Star if byte != b'/' => set_bit(stays, index),
                    Token::StarStar => set_bit(stays, index),
                    _ => {}
                }
            }
            let known = steps.chunks_exact(2 * words).position(|known| known == row);
            let number = known.unwrap_or(steps.len() / (2 * words));
            if known.is_none() {
                steps.extend_from_slice(&row);
            }
            row_of[usize::from(byte)] = u8::try_from(number).expect("256 bytes have at most 256 rows");
        }

        let mut initial = vec![0; words];
        set_bit(&mut initial, 0);
        if stars[0] & 1 != 0 {
            set_bit(&mut initial, 1);
        }
        Self {
            words,
            start,
            row_of,
            steps: steps.into(),
            stars: stars.into(),
            initial: initial.into(),
            accept: tokens.len(),
        }
    }

    /// The number of words of a state.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    pub(crate) fn start(&self) -> Start {
        self.start
    }

    /// The state before any byte.
    pub(crate) fn initial(&self) -> &[u64] {
        &self.initial
    }

    /// Whether the pattern can still match what follows this state, whatever it is.
    pub(crate) fn is_alive(&self, state: &[u64]) -> bool {
        self.start == Start::EveryComponent || state.iter().any(|&word| word != 0)
    }

    /// The bytes that do not end all attempts from this state.
    pub(crate) fn next_bytes(&self, state: &[u64]) -> ByteSet {
        let mut bytes = ByteSet::default();
        for byte in 0..=u8::MAX {
            let row = usize::from(self.row_of[usize::from(byte)]) * 2 * self.words;
            let (moves, stays) = self.steps[row..row + 2 * self.words].split_at(self.words);
            if (0..self.words).any(|word| state[word] & (moves[word] | stays[word]) != 0) {
                bytes.insert(byte);
            }
        }
        bytes
    }

    /// The positions behind which at most `count` tokens demand `byte`.
    pub(crate) fn positions_before_last(&self, byte: u8, tokens: &[Token], count: usize) -> Box<[u64]> {
        let mut positions = vec![0; self.words];
        let mut demanded = 0;
        set_bit(&mut positions, tokens.len());
        for (index, token) in tokens.iter().enumerate().rev() {
            demanded += usize::from(*token == Token::Byte(byte));
            if demanded > count {
                break;
            }
            set_bit(&mut positions, index);
        }
        positions.into()
    }

    /// Moves `state` over `text`.
    pub(crate) fn feed(&self, state: &mut [u64], text: &[u8]) {
        for &byte in text {
            if let [state] = state {
                *state = self.step_word(*state, byte);
            } else {
                self.step(state, byte);
            }
        }
    }

    /// Whether the pattern has matched after `name`, and a slash where `slash` says so, follow this state.
    pub(crate) fn accepts(&self, state: &[u64], name: &[u8], slash: bool) -> bool {
        if let [state] = *state {
            let mut state = state;
            for &byte in name {
                state = self.step_word(state, byte);
                // A name holds no slash, at which a new attempt could begin.
                if state == 0 && !slash {
                    return false;
                }
            }
            if slash {
                state = self.step_word(state, b'/');
            }
            return state & (1 << self.accept) != 0;
        }
        let mut inline = [0; INLINE_WORDS];
        let mut heap;
        let scratch = if let Some(scratch) = inline.get_mut(..self.words) {
            scratch
        } else {
            heap = vec![0; self.words];
            heap.as_mut_slice()
        };
        scratch.copy_from_slice(state);
        self.feed(scratch, name);
        if slash {
            self.feed(scratch, b"/");
        }
        scratch[self.accept / 64] & (1 << (self.accept % 64)) != 0
    }

    /// Whether the whole of `text` matches from the beginning.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.accepts(&self.initial, text, false)
    }

    /// [`step`](Self::step) for a state of one word, which nearly every pattern has.
    fn step_word(&self, state: u64, byte: u8) -> u64 {
        let row = usize::from(self.row_of[usize::from(byte)]) * 2;
        let mut next = ((state & self.steps[row]) << 1) | (state & self.steps[row + 1]);
        next |= (next & self.stars[0]) << 1;
        if byte == b'/' && self.start == Start::EveryComponent {
            next |= self.initial[0];
        }
        next
    }

    fn step(&self, state: &mut [u64], byte: u8) {
        let row = usize::from(self.row_of[usize::from(byte)]) * 2 * self.words;
        let (moves, stays) = self.steps[row..row + 2 * self.words].split_at(self.words);
        // The bits that leave one word enter the next, once for the move and once for the stars that match
        // nothing. A run of stars is one token, so a star is never followed by another.
        let (mut moved_out, mut skipped_out) = (0, 0);
        for (index, word) in state.iter_mut().enumerate() {
            let moved = *word & moves[index];
            let mut next = (moved << 1) | moved_out | (*word & stays[index]);
            moved_out = moved >> 63;
            let skipped = next & self.stars[index];
            next |= (skipped << 1) | skipped_out;
            skipped_out = skipped >> 63;
            if byte == b'/' && self.start == Start::EveryComponent {
                next |= self.initial[index];
            }
            *word = next;
        }
    }
}

fn set_bit(words: &mut [u64], index: usize) {
    words[index / 64] |= 1 << (index % 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::wildcard_tokens;

    fn automaton(pattern: &str, start: Start) -> Automaton {
        Automaton::new(&wildcard_tokens(pattern.as_bytes()).unwrap(), start)
    }

    /// Lengths around the ends of words, and of what needs no allocation.
    fn lengths() -> impl Iterator<Item = usize> {
        [0..4, 58..70, 120..132, 4090..4100].into_iter().flatten()
    }

    #[test]
    fn positions_move_from_word_to_word() {
        for length in lengths() {
            let run = "a".repeat(length);
            let star = automaton(&format!("{run}*bc"), Start::Beginning);
            for (end, matches) in [("bc", true), ("xbc", true), ("bbc", true), ("b", false), ("/bc", false)] {
                assert_eq!(star.matches(format!("{run}{end}").as_bytes()), matches, "{length} {end}");
            }
            let stars = automaton(&format!("{run}**?*b**c"), Start::Beginning);
            for (end, matches) in
                [("xbc", true), ("/x/x/yb/c", true), ("/x/y/b/c", false), ("bc", false), ("xb/", false)]
            {
                assert_eq!(stars.matches(format!("{run}{end}").as_bytes()), matches, "{length} {end}");
            }
        }
    }

    #[test]
    fn a_path_may_be_fed_in_pieces() {
        for length in lengths() {
            let run = "a".repeat(length);
            let automaton = automaton(&format!("{run}b/c/***"), Start::EveryComponent);
            let mut state = automaton.initial().to_vec();
            automaton.feed(&mut state, format!("x/{run}b/").as_bytes());
            assert!(automaton.accepts(&state, b"c", true), "{length}");
            assert!(!automaton.accepts(&state, b"c", false), "{length}");
            automaton.feed(&mut state, b"c/d/");
            assert!(automaton.accepts(&state, b"e", false), "{length}");
        }
    }

    #[test]
    fn a_state_without_positions_is_dead_if_nothing_begins_again() {
        let from = |start| {
            let automaton = automaton("a*b/c", start);
            let mut state = automaton.initial().to_vec();
            automaton.feed(&mut state, b"b/");
            (automaton.is_alive(&state), state)
        };
        assert_eq!(from(Start::Beginning), (false, vec![0]));
        assert_eq!(from(Start::EveryComponent), (true, vec![1]));
    }

    #[test]
    fn the_next_bytes_are_those_that_keep_a_position() {
        let automaton = automaton("[ab]*c", Start::Beginning);
        let bytes = automaton.next_bytes(automaton.initial());
        let bytes: Vec<u8> = (0..=u8::MAX).filter(|&byte| bytes.contains(byte)).collect();
        assert_eq!(bytes, b"ab");
    }
}
