//! Metric families made by hand: the figures are counted elsewhere, so the library's own counters would only be copies.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily, MetricType,
};
use roomd_wire::Histogram;

/// A family of figures that go up and down.
pub fn gauge(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, metrics)
}

/// A family of figures that only grow.
pub fn counter(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, metrics)
}

/// A family of counted durations, in seconds.
pub fn histogram(name: &str, help: &str, metrics: Vec<Metric>) -> MetricFamily {
    family(name, help, MetricType::HISTOGRAM, metrics)
}

/// A figure without labels.
pub fn one(value: f64) -> Vec<Metric> {
    vec![sample(&[], value)]
}

/// A figure without labels, if it is known.
pub fn known(value: Option<f64>) -> Vec<Metric> {
    value.map(one).unwrap_or_default()
}

/// A figure. Which of gauge and counter it is, only the family says: it carries both.
pub fn sample(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
    let mut counter = Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
    metric
}

/// Counted durations.
pub fn durations(labels: &[(&str, &str)], counted: &Histogram) -> Metric {
    let bucket = |(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = HistogramProto::default();
    histogram.set_sample_count(counted.count());
    histogram.set_sample_sum(counted.sum_seconds());
    histogram.set_bucket(counted.cumulative().map(bucket).collect());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
