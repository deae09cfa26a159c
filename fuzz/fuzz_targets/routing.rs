//! Any routes, any request: no panic, the table agrees with a walk in file order, and whatever has
//! a normal form has only that one. A line each: the host, the path, then routes as `HOST PATH`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::logic::request::Host;
use tidegate::logic::request::path::normal_form;
use tidegate::logic::route::{HostPattern, PathPattern, Table};

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let (Some(host), Some(path)) = (lines.next(), lines.next()) else {
        return;
    };
    let rules: Vec<_> = lines.filter_map(rule).collect();
    let Some(host) = Host::parse(host).map(Host::without_trailing_dot) else {
        return;
    };
    let Ok(path) = normal_form(path) else { return };
    assert_eq!(normal_form(path.as_bytes()).as_deref(), Ok(&*path));

    let mut table = Table::default();
    for (index, (host, path)) in rules.iter().enumerate() {
        table.add(index, host.as_slice(), path);
    }
    let walked = rules.iter().position(|(pattern, rest)| {
        let host = pattern.as_ref().is_none_or(|pattern| pattern.matches(host.name()));
        host && rest.matches(&path)
    });
    assert_eq!(table.find(host.name(), &path), walked);
    if let Some(index) = walked {
        let rewritten = rules[index].1.rewrite(&path, "/live");
        assert!(rewritten.starts_with("/live"), "{rewritten}");
    }
});

/// A route of a file that was accepted; its patterns are spelled as they are read.
fn rule(line: &[u8]) -> Option<(Option<HostPattern>, PathPattern)> {
    let (host, path) = str::from_utf8(line).ok()?.split_once(' ')?;
    let host = match host {
        "" => None,
        host => Some(HostPattern::parse(host).ok()?),
    };
    let path = PathPattern::parse(path).ok()?;
    if let Some(host) = &host {
        assert_eq!(HostPattern::parse(&host.to_string()).as_ref(), Ok(host));
    }
    assert_eq!(PathPattern::parse(&path.to_string()).as_ref(), Ok(&path));
    Some((host, path))
}
