//! nginx: `nginx.conf` and what it includes, or the file of a single site.

pub mod directives;
pub mod header;
pub mod http;
pub mod listener;
pub mod location;
pub mod read;
pub mod route_settings;
pub mod routes;
pub mod scope;
pub mod site;
pub mod target;
pub mod units;
pub mod upstream;

use std::path::Path;

use super::draft::{Draft, Value};
use super::source::ImportError;
use read::Directive;

/// Carries a configuration over into `draft`.
///
/// # Errors
/// When a file can't be read or is no nginx configuration.
pub fn import(path: &Path, draft: &mut Draft) -> Result<(), ImportError> {
    let directives = read::read_all(path, &mut draft.findings)?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let of_http = |d: &Directive| ["server", "upstream", "map"].contains(&d.name.as_str());
    if directives.iter().any(of_http) {
        // What a packaged nginx includes inside `http`.
        http::write(&directives, directory, draft);
        return Ok(());
    }
    directives::tell(&directives, &mut draft.findings);
    process(&directives, draft);
    for directive in &directives {
        match directive.name.as_str() {
            "http" => http::write(&directive.block, directory, draft),
            "stream" => {
                let advice = "bytes that are no HTTP are not carried";
                draft
                    .findings
                    .lost(&directive.place, "stream { … }", advice);
            }
            _ => {}
        }
    }
    Ok(())
}

fn process(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        match directive.name.as_str() {
            "worker_processes" if directive.arg(0).parse::<u16>().is_ok_and(|count| count > 0) => {
                let count = Value::plain(directive.arg(0));
                draft.server.set("workers", count, &directive.place);
            }
            "worker_shutdown_timeout" => {
                if let Some(time) = units::time(directive.arg(0)) {
                    draft.server.set("shutdown_grace", time, &directive.place);
                }
            }
            _ => {}
        }
    }
}
