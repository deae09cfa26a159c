//! Any bytes in the access log: one line of printable ASCII that is JSON and reads back as what
//! was kept, which is never longer than its bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::config::defaults::ACCESS_LOG_TEXT_BYTES;
use tidegate::telemetry::access::json::{Value, bounded, write_line};

/// `…` in UTF-8.
const MARK_BYTES: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    let kept = bounded(bytes);
    assert!(kept.len() <= ACCESS_LOG_TEXT_BYTES + MARK_BYTES);
    let mut line = Vec::new();
    let fields = [("path", Value::Text(&kept)), ("status", Value::Number(404))];
    write_line(fields.into_iter(), &mut line);
    let (end, text) = line.split_last().expect("a line");
    assert_eq!(*end, b'\n');
    assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let read: serde_json::Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(read["path"], *kept);
    assert_eq!(read["status"], 404);
});
