//! Shows how a run goes, where standard error is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{END_TIMEOUT, OPEN_TIMEOUT, Plan, Progress, Stage};

/// One line, redrawn.
pub(super) struct Bar {
    bar: ProgressBar,
    span: Duration,
    connections: u64,
    urls: Vec<String>,
}

impl Bar {
    pub(super) fn new(plan: &Plan) -> Self {
        let bar = ProgressBar::new(1000);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        let urls = plan
            .targets
            .iter()
            .map(|target| target.url.clone())
            .collect();
        Self {
            bar,
            span: plan.duration / plan.rounds,
            connections: plan.connections,
            urls,
        }
    }

    pub(super) fn show(&self, progress: Progress) {
        let part = match progress.stage {
            Stage::Opening => 0.0,
            Stage::Load(passed) => passed.as_secs_f64() / self.span.as_secs_f64(),
            Stage::Ending => 1.0,
        };
        let targets = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        let turn = progress.round * targets + u32::try_from(progress.target).unwrap_or_default();
        let done = (f64::from(turn) + part.min(1.0)) / f64::from(progress.rounds * targets);
        self.bar.set_position(
            Duration::from_secs_f64(done)
                .as_millis()
                .try_into()
                .unwrap_or(1000),
        );
        let url = self.urls.get(progress.target).map_or("", String::as_str);
        self.bar
            .set_message(format!("{url} {}", self.doing(progress)));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn doing(&self, progress: Progress) -> String {
        let Progress {
            opened,
            messages,
            faults,
            ..
        } = progress;
        match progress.stage {
            Stage::Opening => format!(
                "opening: {opened} of {}, {faults} faults (each has {} s)",
                self.connections,
                OPEN_TIMEOUT.as_secs()
            ),
            Stage::Load(_) => {
                format!("under load: {opened} opened, {messages} messages, {faults} faults")
            }
            Stage::Ending => format!(
                "ending: last echoes, then Closes ({} s each at most)",
                END_TIMEOUT.as_secs()
            ),
        }
    }
}
