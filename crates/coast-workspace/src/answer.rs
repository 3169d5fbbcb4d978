//! Answers to questions: the helper writes an answer, and the client reads it.

use std::io::{Read, Write};
use std::ops::ControlFlow;

use coast_engine::EngineError;
use coast_wire::limits::MAX_ANSWER_BYTES;
use coast_wire::{Answer, Class, FrameReader, Pack, WireError, bounded_text, messages};

/// Writes one message of an answer.
///
/// # Errors
/// When the stream fails.
pub fn say(answer: &Answer<'_>, mut writer: impl Write) -> Result<(), EngineError> {
    let mut pack = Pack::new(Class::Control);
    pack.push(answer)?;
    let frame = pack.seal(None)?;
    writer.write_all(&frame).and_then(|()| writer.flush()).map_err(|error| WireError::Io(error).into())
}

/// Writes why there is no answer.
///
/// # Errors
/// When the stream fails.
pub fn decline(error: &EngineError, writer: impl Write) -> Result<(), EngineError> {
    let text = bounded_text(&error.to_string());
    say(&Answer::Failed { kind: error.failure_kind(), text: &text }, writer)
}

/// Reads an answer, and hands each message to `take` until `take` breaks.
///
/// # Errors
/// When the helper failed, when the answer is too long, wrong or incomplete, and the errors of `take`.
pub fn take_answer<T>(
    reader: impl Read,
    mut take: impl FnMut(Answer<'_>) -> Result<ControlFlow<T>, EngineError>,
) -> Result<T, EngineError> {
    let mut frames = FrameReader::new(reader.take(MAX_ANSWER_BYTES));
    while let Some(frame) = frames.next_frame()? {
        for message in messages(&frame.decode()?) {
            let flow = match message? {
                Answer::Failed { kind, text } => {
                    return Err(EngineError::Remote { kind, text: bounded_text(text) });
                }
                answer => take(answer)?,
            };
            if let ControlFlow::Break(taken) = flow {
                return Ok(taken);
            }
        }
    }
    Err(EngineError::Disconnected)
}

#[cfg(test)]
mod tests {
    use coast_wire::{Event, FailureKind, Removal};

    use super::*;

    const REMOVAL: Removal = Removal { existed: true, removed_entries: 3, kept_entries: 0, confined: false };

    fn take(stream: &[u8]) -> Result<(Vec<String>, Removal), EngineError> {
        let mut notices = Vec::new();
        let removal = take_answer(stream, |answer| match answer {
            Answer::Event(Event::Notice { text }) => {
                notices.push(text.to_owned());
                Ok(ControlFlow::Continue(()))
            }
            Answer::Removal(removal) => Ok(ControlFlow::Break(removal)),
            _ => Err(EngineError::Protocol("it answered something else")),
        })?;
        Ok((notices, removal))
    }

    #[test]
    fn what_is_said_is_taken_in_until_the_last_message() {
        let mut stream = Vec::new();
        say(&Answer::Event(Event::Notice { text: "first" }), &mut stream).unwrap();
        say(&Answer::Removal(REMOVAL), &mut stream).unwrap();
        stream.extend_from_slice(b"what follows is not looked at");
        assert_eq!(take(&stream).unwrap(), (vec!["first".to_owned()], REMOVAL));
    }

    #[test]
    fn a_failure_keeps_its_kind_and_its_words() {
        let mut stream = Vec::new();
        decline(&EngineError::Busy { path: "/data/w/p/i".into() }, &mut stream).unwrap();
        match take(&stream).unwrap_err() {
            EngineError::Remote { kind: FailureKind::Busy, text } => {
                assert!(text.contains("/data/w/p/i"), "{text}")
            }
            error => panic!("{error}"),
        }
    }

    #[test]
    fn an_answer_that_does_not_end_or_is_none_is_an_error() {
        let mut stream = Vec::new();
        say(&Answer::Event(Event::Notice { text: "only" }), &mut stream).unwrap();
        assert!(matches!(take(&stream), Err(EngineError::Disconnected)));
        assert!(matches!(take(&stream[..stream.len() - 1]), Err(EngineError::Wire(WireError::Truncated))));
        assert!(matches!(take(b"\xff nonsense"), Err(EngineError::Wire(_))));
        // Each message is allowed, but together they are longer than an answer may be.
        let text = "x".repeat(1 << 20);
        let mut stream = Vec::new();
        for _ in 0..5 {
            say(&Answer::Event(Event::Notice { text: &text }), &mut stream).unwrap();
        }
        say(&Answer::Removal(REMOVAL), &mut stream).unwrap();
        assert!(take(&stream).is_err());
    }
}
