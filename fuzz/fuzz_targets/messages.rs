//! Any bytes as messages of either direction, or as answers: no panic, and what decodes encodes to something that decodes to the
//! same.
#![no_main]

use coast_wire::{Answer, ToReceiver, ToSender, messages};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

fn check<'a, M: Deserialize<'a> + Serialize + PartialEq + std::fmt::Debug>(bytes: &'a [u8]) -> Vec<Vec<u8>> {
    messages::<M>(bytes).filter_map(Result::ok).map(|message| postcard::to_stdvec(&message).expect("it was decoded")).collect()
}

fuzz_target!(|bytes: &[u8]| {
    for encoded in check::<ToReceiver<'_>>(bytes) {
        assert_eq!(check::<ToReceiver<'_>>(&encoded), [encoded.clone()]);
    }
    for encoded in check::<ToSender<'_>>(bytes) {
        assert_eq!(check::<ToSender<'_>>(&encoded), [encoded.clone()]);
    }
    for encoded in check::<Answer<'_>>(bytes) {
        assert_eq!(check::<Answer<'_>>(&encoded), [encoded.clone()]);
    }
});
