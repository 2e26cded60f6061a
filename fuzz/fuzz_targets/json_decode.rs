//! Any bytes as JSONMIDI: what is taken is written, taken again, and is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midip2p_midi::json::{self, EncodeError, Reader, Record};

fuzz_target!(|data: &[u8]| {
    let mut scratch = vec![0; data.len()];
    match json::decode(data, &mut scratch) {
        Ok(record) => again(&record),
        Err(error) => {
            assert!(error.offset <= data.len());
            assert!(!error.to_string().is_empty());
            // As many bytes as the text has are always enough.
            assert_ne!(error.reason, json::Reason::Scratch);
        }
    }
    let mut reader = Reader::new(data);
    let mut offset = 0;
    while let Some(record) = reader.next(&mut scratch) {
        if let Ok(record) = record {
            again(&record);
        }
        // At the end one more fault may be told: an array that was not closed.
        assert!(reader.offset() > offset || offset == data.len(), "every record is a step on");
        offset = reader.offset();
    }
});

fn again(record: &Record<'_>) {
    let mut text = String::new();
    json::write(record, &mut text).expect("what was taken can be written");
    let mut buffer = vec![0; text.len()];
    assert_eq!(json::encode(record, &mut buffer), Ok(text.len()));
    assert_eq!(buffer, text.as_bytes());
    let short = text.len() - 1;
    let needed = text.len();
    assert_eq!(json::encode(record, &mut buffer[..short]), Err(EncodeError::Buffer { needed }));
    let mut scratch = vec![0; text.len()];
    assert_eq!(json::decode(text.as_bytes(), &mut scratch), Ok(*record));
}
