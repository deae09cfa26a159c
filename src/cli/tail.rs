//! `tidegate connections --tail`: one WebSocket's frames as they pass.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;
use time::OffsetDateTime;

use super::admin_client::{AdminClient, encoded};
use super::fail;

/// Prints what passes, until the WebSocket ends.
pub(super) fn run(client: &AdminClient, id: &str, payload: bool, json: bool) -> ExitCode {
    let path = format!("/api/v1/connections/{}/tail?payload={payload}", encoded(id));
    let heard = |line: &str| {
        let text = if json {
            line.to_owned()
        } else {
            serde_json::from_str(line).map_or_else(|_| line.to_owned(), |sight| row(&sight))
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    };
    match client.follow(&path, heard) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn row(sight: &Value) -> String {
    let word = |key: &str| sight[key].as_str().unwrap_or_default();
    let at = clock(sight["at"].as_i64().unwrap_or(0));
    let missed = match sight["missed"].as_u64() {
        Some(missed @ 1..) => format!("             ... {missed} frames not shown\n"),
        _ => String::new(),
    };
    let what = match word("event") {
        "end" => {
            let code = sight["close_code"].as_u64();
            let code = code.map(|code| format!(", {code}")).unwrap_or_default();
            format!("ended: {}{code}", word("reason"))
        }
        "begin" => "watching".to_owned(),
        "replaced" => "somebody else watches it from now on".to_owned(),
        _ => frame(sight),
    };
    format!("{missed}{at}  {what}")
}

fn frame(sight: &Value) -> String {
    let word = |key: &str| sight[key].as_str().unwrap_or_default();
    let to = word("direction").trim_start_matches("to_");
    let marks = [
        (sight["fin"] == false, " unfinished"),
        (sight["compressed"] == true, " compressed"),
    ];
    let marks: String = marks
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, mark)| *mark)
        .collect();
    // Escaped: what a peer sends must not lead the terminal.
    let start = match (
        sight["payload_text"].as_str(),
        sight["payload_hex"].as_str(),
    ) {
        (Some(text), _) => format!("  \"{}\"", text.escape_debug()),
        (None, Some(hex)) => format!("  {hex}"),
        (None, None) => String::new(),
    };
    format!(
        "{:>7} -> {to:<7}  {:<12} {:>10} B{marks}{start}",
        word("by"),
        word("opcode"),
        sight["payload_bytes"].as_u64().unwrap_or(0),
    )
}

/// The time of day in UTC.
fn clock(millis: i64) -> String {
    let at = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(millis);
    let (hour, minute, second, milli) = at.time().as_hms_milli();
    format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_is_a_row_and_what_it_carries_is_escaped() {
        let sight = json!({
            "event": "frame", "at": 3_723_004, "missed": 2, "direction": "to_backend", "by": "client",
            "opcode": "text", "fin": false, "compressed": false, "payload_bytes": 5,
            "payload_text": "a\u{1b}[2J",
        });
        let expected = "             ... 2 frames not shown\n\
            01:02:03.004   client -> backend  text                  5 B unfinished  \"a\\u{1b}[2J\"";
        assert_eq!(row(&sight), expected);
    }

    #[test]
    fn the_end_has_its_reason_and_code() {
        let end =
            json!({ "event": "end", "at": 0, "missed": 0, "reason": "killed", "close_code": 1008 });
        assert_eq!(row(&end), "00:00:00.000  ended: killed, 1008");
    }
}
