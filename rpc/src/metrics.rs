//! Numbers for Prometheus.
//!
//! Owns the typed samples and their text form (exposition format 0.0.4). Refuses samples with a name or label
//! that the format does not allow: they are left out, since a scrape must not fail because of one of them.

use std::fmt::Write as _;

/// A measured value.
#[derive(Clone, PartialEq, Debug)]
pub enum SampleValue {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// Distribution: cumulative counts by upper bound, then sum and count.
    Histogram {
        /// `(upper bound, observations at or below it)`, ascending, without infinity.
        buckets: Vec<(f64, u64)>,
        /// Sum of all observations.
        sum: f64,
        /// Number of observations.
        count: u64,
    },
}

/// One sample.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Name, `metanode_<subsystem>_<what>`.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Labels in order.
    pub labels: Vec<(&'static str, String)>,
    /// Value.
    pub value: SampleValue,
}

impl Sample {
    /// A counter without labels.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
        Sample { name, help, labels: Vec::new(), value: SampleValue::Counter(value) }
    }
    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Sample {
        Sample { name, help, labels: Vec::new(), value: SampleValue::Gauge(value) }
    }
    /// Adds a label.
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Sample {
        self.labels.push((name, value.into()));
        self
    }

    fn kind(&self) -> &'static str {
        match self.value {
            SampleValue::Counter(_) => "counter",
            SampleValue::Gauge(_) => "gauge",
            SampleValue::Histogram { .. } => "histogram",
        }
    }
}

/// Samples as text, grouped by name in order of first appearance.
pub fn render(samples: &[Sample]) -> String {
    let mut out = String::new();
    let mut names: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|s| is_name(s.name)) {
        if !names.contains(&sample.name) {
            names.push(sample.name);
        }
    }
    for name in names {
        let mut group = samples.iter().filter(|s| s.name == name).peekable();
        if let Some(first) = group.peek() {
            let help = first.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", first.kind());
        }
        group.for_each(|sample| write_sample(&mut out, sample));
    }
    out
}

fn write_sample(out: &mut String, sample: &Sample) {
    let labels: Vec<String> = sample
        .labels
        .iter()
        .filter(|l| is_name(l.0))
        .map(|(n, v)| format!("{n}=\"{}\"", escape(v)))
        .collect();
    let set = |extra: Option<String>| {
        let all: Vec<String> = labels.iter().cloned().chain(extra).collect();
        if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
    };
    let name = sample.name;
    // Writing to a String cannot fail.
    let _ = match &sample.value {
        SampleValue::Counter(v) => writeln!(out, "{name}{} {v}", set(None)),
        SampleValue::Gauge(v) => writeln!(out, "{name}{} {v}", set(None)),
        SampleValue::Histogram { buckets, sum, count } => {
            for (le, n) in buckets {
                let _ = writeln!(out, "{name}_bucket{} {n}", set(Some(format!("le=\"{le}\""))));
            }
            let inf = set(Some("le=\"+Inf\"".to_owned()));
            writeln!(
                out,
                "{name}_bucket{inf} {count}\n{name}_sum{} {sum}\n{name}_count{} {count}",
                set(None),
                set(None)
            )
        }
    };
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_groups_escapes_and_leaves_out_bad_names() {
        let samples = [
            Sample::gauge("metanode_p2p_peers", "Peers.", 3.0).label("kind", "a\"b\\c\nd"),
            Sample::counter("bad name", "never", 1),
            Sample {
                name: "metanode_consensus_block_interval_seconds",
                help: "Interval.",
                labels: vec![],
                value: SampleValue::Histogram { buckets: vec![(0.5, 1), (1.0, 2)], sum: 1.25, count: 3 },
            },
            Sample::gauge("metanode_p2p_peers", "Peers.", 4.0).label("kind", "x"),
        ];
        let text = render(&samples);
        assert_eq!(
            text,
            "# HELP metanode_p2p_peers Peers.\n# TYPE metanode_p2p_peers gauge\n\
             metanode_p2p_peers{kind=\"a\\\"b\\\\c\\nd\"} 3\nmetanode_p2p_peers{kind=\"x\"} 4\n\
             # HELP metanode_consensus_block_interval_seconds Interval.\n\
             # TYPE metanode_consensus_block_interval_seconds histogram\n\
             metanode_consensus_block_interval_seconds_bucket{le=\"0.5\"} 1\n\
             metanode_consensus_block_interval_seconds_bucket{le=\"1\"} 2\n\
             metanode_consensus_block_interval_seconds_bucket{le=\"+Inf\"} 3\n\
             metanode_consensus_block_interval_seconds_sum 1.25\n\
             metanode_consensus_block_interval_seconds_count 3\n"
        );
    }
}
