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

/// The volumes that could be read, and the names of all.
pub(super) struct Volumes {
    pub(super) known: BTreeMap<VolumeName, VolumeConfig>,
    /// Also those with a mistake in them, so that they are not taken for missing ones.
    pub(super) names: Vec<String>,
}

impl Context<'_> {
    /// `needed`: there are files, so that without a word on volumes there is the default one.
    pub(super) fn volumes(
        &mut self,
        one: Option<&At<RawVolume>>,
        several: Option<&At<Named<RawVolume>>>,
        needed: bool,
        root: &Span,
    ) -> Volumes {
        let mut volumes = Volumes { known: BTreeMap::new(), names: Vec::new() };
        if let (Some(one), Some(_)) = (one, several) {
            self.mistakes.push(Mistake::new(
                &one.span,
                "there is `volume` and `volumes`",
                "`volume` alone is the one called `default`",
                "move it below `volumes:` as `default: { … }`",
            ));
        }
        let implied = RawVolume::default();
        let default = match one {
            Some(one) => Some((&one.value, &one.span)),
            None if several.is_none() && needed => Some((&implied, root)),
            None => None,
        };
        if let Some((raw, span)) = default {
            let name = At { value: "default".into(), span: span.clone(), shown: "default".into() };
            self.add_volume(&name, raw, &mut volumes);
        }
        for (name, raw) in several.into_iter().flat_map(|several| &several.value.entries) {
            self.add_volume(name, &raw.value, &mut volumes);
        }
        if let Some(several) = several {
            volumes.names.extend(several.value.names.iter().cloned());
        }
        volumes
    }

    fn add_volume(&mut self, name: &At<String>, raw: &RawVolume, volumes: &mut Volumes) {
        volumes.names.push(name.value.clone());
        let parsed = self.named("a volume", name, VolumeName::parse);
        let volume = self.volume(name, raw);
        let (Some(parsed), Some(volume)) = (parsed, volume) else { return };
        for (other, before) in &volumes.known {
            if *other != parsed && overlap(&before.path, &volume.path) {
                self.mistakes.push(Mistake::new(
                    raw.path.as_ref().map_or(&name.span, |path| &path.span),
                    format!("the volumes `{other}` and `{parsed}` overlap"),
                    "one path is the other, or stands beneath it",
                    "give each volume a mount of its own",
                ));
            }
        }
        volumes.known.insert(parsed, volume);
    }

    fn volume(&mut self, name: &At<String>, raw: &RawVolume) -> Option<VolumeConfig> {
        let path = match &raw.path {
            Some(path) => self.absolute(path),
            None if raw.wrong.contains(&"path") => None,
            None if name.value == "default" => self.default_path(&name.span),
            None => {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("volume `{}` has no `path`", name.shown),
                    "only the volume called `default` has a place of its own",
                    "add `path: /run/secrets/NAME`",
                ));
                None
            }
        };
        let mut config = VolumeConfig {
            path: path.clone().unwrap_or_default(),
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
                        format!("volume `{}` may be on a disk", name.shown),
                        "what is written to a disk outlives the pod",
                        "use a tmpfs (`emptyDir: { medium: Memory }`) wherever you can",
                    ));
                }
                "swap" => config.allow_swap = true,
                _ => self.mistakes.push(choice("allow", allow, &["persistent", "swap"])),
            }
        }
        if path.as_ref().is_some_and(|path| path.parent().is_none()) {
            self.mistakes.push(Mistake::new(
                raw.path.as_ref().map_or(&name.span, |path| &path.span),
                format!("volume `{}` is the whole file system", name.shown),
                "everything would stand beneath it",
                "mount a tmpfs, and write its path",
            ));
            return None;
        }
        path.map(|_| config)
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
            && !path.value.contains(char::is_control)
            && !parsed.components().any(|part| matches!(part, Component::ParentDir));
        if !plain {
            self.mistakes.push(Mistake::new(
                &path.span,
                format!("`{}` is not an absolute path", path.shown),
                "it begins with `/` and has no `..`",
                "write the whole path",
            ));
        }
        plain.then_some(parsed)
    }

    pub(super) fn state(
        &mut self,
        raw: Option<&At<RawState>>,
        volumes: &BTreeMap<VolumeName, VolumeConfig>,
    ) -> Option<StateConfig> {
        let raw = raw?;
        let Some(path) = &raw.value.path else {
            if raw.value.wrong.contains(&"path") {
                return None;
            }
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
                _ => self.mistakes.push(choice("allow", allow, &["persistent"])),
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
                let path = At { value: path.to_owned(), ..listen.clone() };
                self.absolute(&path).map(Listen::Unix)
            }
            None => self.socket(&listen, "`ADDRESS:PORT` or `unix:PATH`").map(Listen::Tcp),
        });
        HealthConfig { listen: listen.unwrap_or(Listen::Tcp(DEFAULT_HEALTH)), quit }
    }

    pub(super) fn metrics(
        &mut self,
        raw: Option<&At<RawMetrics>>,
        health: &HealthConfig,
    ) -> Option<SocketAddr> {
        let raw = raw?;
        let Some(listen) = &raw.value.listen else {
            if raw.value.wrong.is_empty() {
                self.mistakes.push(Mistake::new(
                    &raw.span,
                    "`metrics` has no `listen`",
                    "nothing says where they are served",
                    "add `listen: \"0.0.0.0:9187\"`, or remove `metrics`: the health address has them too",
                ));
            }
            return None;
        };
        let address = self.socket(listen, "`ADDRESS:PORT`")?;
        if health.listen == Listen::Tcp(address) {
            self.mistakes.push(Mistake::new(
                &listen.span,
                "`metrics` and `health` listen on the same address",
                "an address can be taken only once",
                "remove `metrics`: they are served on the health address too",
            ));
        }
        Some(address)
    }

    fn socket(&mut self, listen: &At<String>, form: &str) -> Option<SocketAddr> {
        let parsed = listen.value.parse().ok();
        if parsed.is_none() {
            self.mistakes.push(Mistake::new(
                &listen.span,
                format!("can't listen on `{}`", listen.shown),
                format!("an address is {form}, with an IP address"),
                match listen.value.strip_prefix(':').or(listen.value.strip_prefix("localhost:")) {
                    Some(port) if listen.value.starts_with(':') => format!("write 0.0.0.0:{port}"),
                    Some(port) => format!("write 127.0.0.1:{port}"),
                    None => "write for example 127.0.0.1:8087, or [::1]:8087".to_owned(),
                },
            ));
        }
        parsed
    }
}

pub(super) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Where only we write: the volumes and the state.
pub(super) fn private(
    volumes: &BTreeMap<VolumeName, VolumeConfig>,
    state: Option<&StateConfig>,
) -> Vec<PathBuf> {
    let volumes = volumes.values().map(|volume| volume.path.clone());
    volumes.chain(state.map(|state| state.path.clone())).collect()
}
