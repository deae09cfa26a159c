//! Any text: no panic, and what is dumped of a good one is read again and dumped alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::config::{dump, parse};

fuzz_target!(|text: &str| {
    let Ok(config) = parse(text, "fuzz.toml") else { return };
    let dumped = dump(&config);
    match parse(&dumped, "dump.toml") {
        Ok(again) => assert_eq!(dump(&again), dumped),
        Err(errors) => panic!("{errors}\n{dumped}"),
    }
});
