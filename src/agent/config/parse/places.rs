//! `volumes:`, `state:`, `health:` and `metrics:`: where things are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::super::decode::{At, Named};
use super::super::mistake::{Mistake, Span};
use super::super::model::{HealthConfig, Listen, StateConfig, VolumeConfig};
use super::super::raw::{RawHealth, RawMetrics, RawState, RawVolume};
use super::{Context, choice};
use crate::secret::VolumeName;

/// Where secrets are in a pod, and for root.
const DEFAULT_PATH: &str = "/run/secrets/sidekey";
const DEFAULT_SIZE: u64 = 4 << 20;
const DEFAULT_STATE_SIZE: u64 = 2 << 20;
const KEEP_PREVIOUS: Duration = Duration::from_secs(5 * 60);
/// Where probes ask unless the config says otherwise.
const DEFAULT_HEALTH: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8087);

impl Context<'_> {
    pub(super) fn volumes(
        &mut self,
        one: Option<&At<RawVolume>>,
        several: Option<&At<Named<RawVolume>>>,
        needed: bool,
        root: &Span,
    ) -> BTreeMap<VolumeName, VolumeConfig> {
        let mut volumes = BTreeMap::new();
        let default = VolumeName::parse("default").ok();
        if let (Some(one), Some(_)) = (one, several) {
            self.mistakes.push(Mistake::new(
                &one.span,
                "there is `volume` and `volumes`",
                "`volume` alone is the one called `default`",
                "move it below `volumes:` as `default: { … }`",
            ));
        }
        if let (Some(one), Some(name)) = (one, &default)
            && let Some(volume) = self.volume("default", &one.value, &one.span)
        {
            volumes.insert(name.clone(), volume);
        }
        for (name, raw) in several.into_iter().flat_map(|several| &several.value) {
            let parsed = self.named("a volume", name, VolumeName::parse);
            let volume = self.volume(&name.value, &raw.value, &raw.span);
            if let (Some(name), Some(volume)) = (parsed, volume) {
                volumes.insert(name, volume);
            }
        }
        if one.is_none() && several.is_none() && needed {
            let span = Span { bytes: root.bytes.start..root.bytes.start, ..root.clone() };
            if let (Some(name), Some(volume)) =
                (default, self.volume("default", &RawVolume::default(), &span))
            {
                volumes.insert(name, volume);
            }
        }
        self.no_overlap(&volumes, several.map_or(root, |s| &s.span));
        volumes
    }

    fn volume(&mut self, name: &str, raw: &RawVolume, span: &Span) -> Option<VolumeConfig> {
        let path = match &raw.path {
            Some(path) => self.absolute(path)?,
            None if name == "default" => self.default_path(span)?,
            None => {
                self.mistakes.push(Mistake::new(
                    span,
                    format!("volume `{name}` has no `path`"),
                    "only the volume called `default` has a place of its own",
                    "add `path: /run/secrets/NAME`",
                ));
                return None;
            }
        };
        let mut config = VolumeConfig {
            path,
            keep_previous: raw.keep_previous.as_ref().map_or(KEEP_PREVIOUS, |keep| keep.value.0),
            size: raw.size.as_ref().map_or(DEFAULT_SIZE, |size| size.value.0),
            allow_persistent: false,
            allow_swap: false,
        };
        for allow in raw.allow.iter().flat_map(|allow| &allow.value) {
            match allow.value.as_str() {
                "persistent" => {
                    config.allow_persistent = true;
                    self.warnings.push(Mistake::new(
                        &allow.span,
                        format!("volume `{name}` may be on a disk"),
                        "what is written to a disk outlives the pod",
                        "use a tmpfs (`emptyDir: { medium: Memory }`) wherever you can",
                    ));
                }
                "swap" => config.allow_swap = true,
                other => {
                    let known = ["persistent", "swap"];
                    self.mistakes.push(choice(&allow.span, "allow", other, &known));
                }
            }
        }
        Some(config)
    }

    fn default_path(&mut self, span: &Span) -> Option<PathBuf> {
        if self.around.in_pod || self.around.uid == 0 {
            return Some(PathBuf::from(DEFAULT_PATH));
        }
        let runtime = (self.around.env)("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/'));
        if runtime.is_none() {
            self.mistakes.push(Mistake::new(
                span,
                "the volume has no `path`",
                "outside a pod it is $XDG_RUNTIME_DIR/sidekey, and that variable is not set",
                "add `volume: { path: DIR }` with a directory on a tmpfs",
            ));
        }
        runtime.map(|dir| PathBuf::from(dir).join("sidekey"))
    }

    /// A path that says by itself where it is.
    pub(super) fn absolute(&mut self, path: &At<String>) -> Option<PathBuf> {
        let parsed = PathBuf::from(&path.value);
        let plain = parsed.is_absolute()
            && !parsed.components().any(|part| matches!(part, Component::ParentDir));
        if !plain {
            self.mistakes.push(Mistake::new(
                &path.span,
                format!("`{}` is not an absolute path", path.value.escape_debug()),
                "it begins with `/` and has no `..`",
                "write the whole path of the mount",
            ));
        }
        plain.then_some(parsed)
    }

    fn no_overlap(&mut self, volumes: &BTreeMap<VolumeName, VolumeConfig>, span: &Span) {
        for (name, volume) in volumes {
            for (other, inner) in volumes {
                if name < other && overlap(&volume.path, &inner.path) {
                    self.mistakes.push(Mistake::new(
                        span,
                        format!("the volumes `{name}` and `{other}` overlap"),
                        format!("{} and {}", volume.path.display(), inner.path.display()),
                        "give each volume a mount of its own",
                    ));
                }
            }
        }
    }

    pub(super) fn state(
        &mut self,
        raw: Option<&At<RawState>>,
        volumes: &BTreeMap<VolumeName, VolumeConfig>,
    ) -> Option<StateConfig> {
        let raw = raw?;
        let Some(path) = &raw.value.path else {
            self.mistakes.push(Mistake::new(
                &raw.span,
                "`state` has no `path`",
                "nothing says where it is mounted",
                "add `path: /run/sidekey`",
            ));
            return None;
        };
        let parsed = self.absolute(path)?;
        for (name, volume) in volumes {
            if overlap(&volume.path, &parsed) {
                self.mistakes.push(Mistake::new(
                    &path.span,
                    format!("`state` and the volume `{name}` overlap"),
                    "the application would see the token and the leases",
                    "mount the state on a tmpfs of its own, in Sidekey's containers only",
                ));
            }
        }
        let mut allow_persistent = false;
        for allow in raw.value.allow.iter().flat_map(|allow| &allow.value) {
            match allow.value.as_str() {
                "persistent" => allow_persistent = true,
                other => self.mistakes.push(choice(&allow.span, "allow", other, &["persistent"])),
            }
        }
        let size = raw.value.size.as_ref().map_or(DEFAULT_STATE_SIZE, |size| size.value.0);
        Some(StateConfig { path: parsed, size, allow_persistent })
    }

    pub(super) fn health(&mut self, raw: Option<RawHealth>) -> HealthConfig {
        let raw = raw.unwrap_or_default();
        let quit = raw.quit.is_some_and(|quit| quit.value);
        let listen = raw.listen.and_then(|listen| match listen.value.strip_prefix("unix:") {
            Some(path) => {
                let path = At { value: path.to_owned(), span: listen.span.clone() };
                self.absolute(&path).map(Listen::Unix)
            }
            None => self.socket(&listen, "`ADDRESS:PORT` or `unix:PATH`").map(Listen::Tcp),
        });
        HealthConfig { listen: listen.unwrap_or(Listen::Tcp(DEFAULT_HEALTH)), quit }
    }

    pub(super) fn metrics(&mut self, raw: Option<RawMetrics>) -> Option<SocketAddr> {
        raw?.listen.and_then(|listen| self.socket(&listen, "`ADDRESS:PORT`"))
    }

    fn socket(&mut self, listen: &At<String>, form: &str) -> Option<SocketAddr> {
        let parsed = listen.value.parse().ok();
        if parsed.is_none() {
            self.mistakes.push(Mistake::new(
                &listen.span,
                format!("can't listen on `{}`", listen.value.escape_debug()),
                format!("an address is {form}, with an IP address"),
                "write for example 127.0.0.1:8087, or [::1]:8087",
            ));
        }
        parsed
    }
}

pub(super) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}
