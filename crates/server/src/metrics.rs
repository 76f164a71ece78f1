//! What the server has done and is doing, for Prometheus, under the names that dashboards know: vLLM's with its prefix, and
//! NVIDIA NIM's, which are the same without.

use crate::hall::{Ending, Tokens};
use crate::house::House;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Instant;

/// Which model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    model_name: String,
}

/// How a request of which model ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfEnding {
    model_name: String,
    finished_reason: &'static str,
}

/// Counts and times of requests. Copies share their numbers.
#[derive(Clone)]
pub(crate) struct Metrics {
    prompt_tokens: Family<OfModel, Counter>,
    generation_tokens: Family<OfModel, Counter>,
    success: Family<OfEnding, Counter>,
    first_token: Family<OfModel, Histogram, fn() -> Histogram>,
    between_tokens: Family<OfModel, Histogram, fn() -> Histogram>,
    whole: Family<OfModel, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let seconds: fn() -> Histogram =
            || Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]);
        let short: fn() -> Histogram =
            || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6]);
        Metrics {
            prompt_tokens: Family::default(),
            generation_tokens: Family::default(),
            success: Family::default(),
            first_token: Family::new_with_constructor(seconds),
            between_tokens: Family::new_with_constructor(short),
            whole: Family::new_with_constructor(seconds),
        }
    }
}

impl Metrics {
    /// All metrics, as Prometheus reads them.
    pub(crate) fn text(&self, house: Arc<House>) -> String {
        let mut out = String::new();
        for prefix in ["vllm:", ""] {
            let mut registry = Registry::default();
            let name = |name: &str| format!("{prefix}{name}");
            registry.register(name("prompt_tokens"), "Tokens of prompts", self.prompt_tokens.clone());
            registry.register(name("generation_tokens"), "Tokens generated", self.generation_tokens.clone());
            registry.register(name("request_success"), "Answers by why they ended", self.success.clone());
            let first = "Seconds from a request to its first token";
            registry.register(name("time_to_first_token_seconds"), first, self.first_token.clone());
            let between = "Seconds between two tokens of an answer";
            registry.register(name("inter_token_latency_seconds"), between, self.between_tokens.clone());
            let whole = "Seconds from a request to its last token";
            registry.register(name("e2e_request_latency_seconds"), whole, self.whole.clone());
            registry.register_collector(Box::new(Engines { house: Arc::clone(&house), prefix }));
            // Writing to a string cannot fail.
            let _ = text::encode_registry(&mut out, &registry);
        }
        let _ = text::encode_eof(&mut out);
        out
    }
}

/// What the engines of the loaded models say at the moment.
#[derive(Debug)]
struct Engines {
    house: Arc<House>,
    prefix: &'static str,
}

impl Collector for Engines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let pulses: Vec<_> =
            self.house.loaded().iter().map(|hosted| (hosted.name.clone(), hosted.worker.pulse())).collect();
        let mut write = |name: &str, help: &str, value: &dyn Fn(&crate::worker::Pulse) -> f64, counts: bool| {
            let kind = if counts {
                prometheus_client::metrics::MetricType::Counter
            } else {
                prometheus_client::metrics::MetricType::Gauge
            };
            let name = format!("{}{name}", self.prefix);
            let mut descriptor = encoder.encode_descriptor(&name, help, None, kind)?;
            for (model_name, pulse) in &pulses {
                let label = OfModel { model_name: model_name.clone() };
                let family = descriptor.encode_family(&label)?;
                match counts {
                    true => ConstCounter::new(value(pulse)).encode(family)?,
                    false => ConstGauge::new(value(pulse)).encode(family)?,
                }
            }
            Ok::<(), std::fmt::Error>(())
        };
        write("num_requests_running", "Requests that run.", &|pulse| pulse.counters.running as f64, false)?;
        let waiting = |pulse: &crate::worker::Pulse| (pulse.counters.waiting + pulse.in_line) as f64;
        write("num_requests_waiting", "Requests that wait.", &waiting, false)?;
        let used = |pulse: &crate::worker::Pulse| {
            pulse.counters.used_tokens as f64 / (pulse.counters.cache_tokens.max(1)) as f64
        };
        write("kv_cache_usage_perc", "Share of the cache that requests use, from 0 to 1.", &used, false)?;
        let asked = |pulse: &crate::worker::Pulse| pulse.counters.prompt_tokens as f64;
        write("prefix_cache_queries", "Tokens of prompts that were looked for in the cache.", &asked, true)?;
        let found = |pulse: &crate::worker::Pulse| pulse.counters.reused_tokens as f64;
        write("prefix_cache_hits", "Those of them that were there.", &found, true)?;
        let preempted = |pulse: &crate::worker::Pulse| pulse.counters.preempted as f64;
        write("num_preemptions", "Times that a request gave its place in the cache back.", &preempted, true)
    }
}

/// Times one request.
pub(crate) struct Watch {
    metrics: Metrics,
    model: OfModel,
    asked: Instant,
    last: Option<Instant>,
}

impl Watch {
    pub(crate) fn start(metrics: &Metrics, model: &str) -> Watch {
        let model = OfModel { model_name: model.to_owned() };
        Watch { metrics: metrics.clone(), model, asked: Instant::now(), last: None }
    }

    /// A token of the first answer came.
    pub(crate) fn token(&mut self) {
        let now = Instant::now();
        match self.last.replace(now) {
            None => self.metrics.first_token.get_or_create(&self.model).observe((now - self.asked).as_secs_f64()),
            Some(last) => self.metrics.between_tokens.get_or_create(&self.model).observe((now - last).as_secs_f64()),
        }
    }

    /// An answer is complete.
    pub(crate) fn ended(&self, ending: &Ending) {
        let finished_reason = if *ending == Ending::Length { "length" } else { "stop" };
        let label = OfEnding { model_name: self.model.model_name.clone(), finished_reason };
        self.metrics.success.get_or_create(&label).inc();
        self.metrics.whole.get_or_create(&self.model).observe(self.asked.elapsed().as_secs_f64());
    }

    /// All that was read and written, whether or not it came to its end.
    pub(crate) fn count(&self, tokens: Tokens) {
        self.metrics.prompt_tokens.get_or_create(&self.model).inc_by(tokens.prompt as u64);
        self.metrics.generation_tokens.get_or_create(&self.model).inc_by(tokens.completion as u64);
    }
}
