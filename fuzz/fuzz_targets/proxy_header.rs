//! The first bytes of a connection: no panic, the same verdict for every cut, and what a header
//! says is what we would write for it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::logic::proxy_header::{MAX_BYTES, Opening, Version};

fuzz_target!(|bytes: &[u8]| {
    let whole = Opening::read(bytes);
    for end in 0..bytes.len() {
        let part = Opening::read(&bytes[..end]);
        assert!(part == Ok(Opening::Unfinished) || part == whole);
    }
    if let Ok(Opening::Header { length, ends }) = whole {
        assert!(length <= bytes.len().min(MAX_BYTES));
        for version in [Version::V1, Version::V2] {
            let header = version.header(ends);
            let length = header.len();
            match Opening::read(&header) {
                Ok(Opening::Header { length: read, ends: again }) => {
                    assert_eq!(read, length);
                    assert_eq!(version.header(again), header);
                }
                other => panic!("{other:?}"),
            }
        }
    }
});
