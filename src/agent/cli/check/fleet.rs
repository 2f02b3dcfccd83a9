//! `check --pods N`: whether the stores bear what a fleet of that size asks for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::agent::config::{Config, plan};
use crate::agent::pipeline;
use crate::agent::reason::{Reason, Report};
use crate::secret::StoreName;

/// What the pods ask of each store, and what a store grants.
pub(super) struct Fleet {
    pods: u32,
    quota: u32,
    loads: BTreeMap<StoreName, plan::Load>,
}

impl Fleet {
    /// Of so many pods with this config.
    pub fn of(config: &Config, pods: u32, quota: u32) -> Fleet {
        let used = pipeline::named_secrets(config);
        Fleet { pods, quota, loads: plan::loads(config, &used, pods) }
    }

    /// Stores that are asked for more than they grant.
    pub fn remarks(&self, config: &Config) -> Vec<Report> {
        let too_much = self.loads.iter().filter(|(_, load)| load.polls > f64::from(self.quota));
        let report = |(name, load): (&StoreName, &plan::Load)| {
            let factor = load.polls / f64::from(self.quota);
            let polled = config.secrets.values().filter(|secret| secret.from.store == *name);
            let shortest = polled.map(|secret| secret.refresh).min().unwrap_or_default();
            let needed = shortest.as_secs_f64() * factor;
            Report::new(
                Reason::StoreThrottled,
                format!("{} pods ask the store `{name}` too often", self.pods),
                format!("{:.0} requests a second, and it grants {}", load.polls, self.quota),
            )
            .hint(format!(
                "raise `refresh` to {:.0}s or more, or say with `--quota` what the store bears",
                needed.ceil()
            ))
        };
        too_much.map(report).collect()
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let head = ["STORE", "POLLS", "GRANTED", "IF ALL START AT ONCE"].map(String::from);
        let mut rows = vec![head.to_vec()];
        for (name, load) in &self.loads {
            rows.push(vec![
                name.to_string(),
                format!("{:.1}/s", load.polls),
                format!("{}/s", self.quota),
                format!("{:.0} requests, {:.0} s", load.start, self.start_seconds(load)),
            ]);
        }
        format!("{} pods:\n{}", self.pods, plan::table(&rows))
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let stores = self.loads.iter().map(|(name, load)| {
            json!({
                "store": name.as_str(),
                "requests_per_second": load.polls,
                "start_requests": load.start,
                "start_seconds": self.start_seconds(load),
                "ok": load.polls <= f64::from(self.quota),
            })
        });
        json!({ "pods": self.pods, "quota": self.quota, "stores": stores.collect::<Vec<_>>() })
    }

    /// How long the store is busy with a start of all at once, at the least.
    fn start_seconds(&self, load: &plan::Load) -> f64 {
        (load.start / f64::from(self.quota)).ceil()
    }
}
