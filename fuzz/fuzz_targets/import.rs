//! Other proxies' configurations: no panic, an end, and findings of one line each.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::import::{Dialect, import};

/// One file of this process, where it costs no disk.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = PathBuf::from("/dev/shm");
    directory.join(format!("tidegate-fuzz-{}.conf", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).expect("a file in memory");
    for dialect in [Dialect::Nginx, Dialect::Haproxy] {
        if let Ok(imported) = import(dialect, &FILE) {
            for finding in imported.findings.iter() {
                assert!(!finding.to_string().contains('\n'));
            }
        }
    }
});
