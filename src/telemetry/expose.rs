//! Gathered samples as text: Prometheus 0.0.4, or OpenMetrics 1.0 when the scraper asks for it.

use prometheus::proto::MetricFamily;
use prometheus::{Result, TextEncoder};

/// A text format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What a scraper's `Accept` asks for.
    pub fn from_accept(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The media type of the answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The families as text.
///
/// # Errors
/// When a family has samples of another kind than its own.
pub fn encode(families: &[MetricFamily], format: Format) -> Result<String> {
    let text = TextEncoder::new().encode_to_string(families)?;
    Ok(match format {
        Format::Prometheus => text,
        Format::OpenMetrics => open_metrics(&text),
    })
}

// OpenMetrics names a counter's family without the `_total` of its samples, and ends in EOF.
fn open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for line in text.lines() {
        match metadata_of_counter(line) {
            Some((keyword, name, rest)) => {
                out.extend(["# ", keyword, " ", name, " ", rest, "\n"]);
            }
            None => out.extend([line, "\n"]),
        }
    }
    out.push_str("# EOF\n");
    out
}

fn metadata_of_counter(line: &str) -> Option<(&str, &str, &str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    Some((keyword, name.strip_suffix("_total")?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_names_counter_families_without_total() {
        let text = "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n";
        let expected = "# HELP a Help.\n# TYPE a counter\na_total 1\n# EOF\n";
        assert_eq!(open_metrics(text), expected);
    }
}
