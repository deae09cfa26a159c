//! Prometheus text, read back.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads a scrape.
    ///
    /// # Panics
    /// When a line is not Prometheus text.
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines
                .map(|line| parse(line).unwrap_or_else(|| panic!("bad line: {line}")))
                .collect(),
        )
    }

    /// The sum of a family's samples that carry these labels.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(family, labels)
            .map(|sample| sample.value)
            .sum()
    }

    /// A family of counters summed up by the values of these labels.
    pub fn sums_by<const N: usize>(
        &self,
        family: &str,
        labels: [&str; N],
    ) -> BTreeMap<[String; N], f64> {
        let mut sums = BTreeMap::new();
        for sample in self.matching(family, &[]) {
            let values = labels.map(|label| {
                let value = sample.labels.iter().find(|(name, _)| name == label);
                value.map(|(_, value)| value.clone()).unwrap_or_default()
            });
            *sums.entry(values).or_default() += sample.value;
        }
        sums
    }

    /// Whether the family has a sample with these labels.
    pub fn has(&self, family: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(family, labels).next().is_some()
    }

    /// Every name that has a sample.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|sample| sample.name.as_str()).collect();
        names.dedup();
        names
    }

    fn matching<'a>(
        &'a self,
        family: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == family
                && labels
                    .iter()
                    .all(|(name, value)| sample.labels.iter().any(|(n, v)| n == name && v == value))
        })
    }
}

fn parse(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}')?)?),
        None => (series, Vec::new()),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

fn parse_labels(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = parse_value(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(labels)
}

/// Reads up to the closing quote, undoing the format's escapes.
fn parse_value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[test]
fn a_scrape_is_read_back_with_its_labels() {
    let metrics = Metrics::parse(
        "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"}{\"} 2\na{x=\"2\"} 3.5\n\nplain 7\n",
    );
    assert!((metrics.sum("a", &[]) - 5.5).abs() < f64::EPSILON);
    assert!((metrics.sum("a", &[("y", "q\"}{")]) - 2.0).abs() < f64::EPSILON);
    assert!(metrics.has("plain", &[]) && !metrics.has("a", &[("x", "3")]));
    assert_eq!(metrics.names(), ["a", "plain"]);
}
