//! The mounts of the application's containers.

use serde_json::Value;

use super::pod::Container;
use super::volumes::{Volumes, read_only};
use super::{Draft, Path};

impl<'a> Draft<'a> {
    /// The containers that get the files.
    pub(super) fn named(&self) -> impl Iterator<Item = &'a Container<'a>> + use<'a> {
        let named = self.settings.containers.as_deref();
        let wanted = move |name: &str| named.is_none_or(|named| named.iter().any(|n| n == name));
        self.pod.containers.iter().filter(move |container| wanted(container.name))
    }

    /// Read-only, in every one that is named.
    pub(super) fn mount(&mut self, volumes: &Volumes) {
        let mounts: Vec<Value> =
            volumes.files.iter().map(|(name, place)| read_only(name, place)).collect();
        for container in self.named() {
            self.mount_in(container, &mounts);
        }
    }

    pub(super) fn mount_in(&mut self, container: &Container<'_>, mounts: &[Value]) {
        let mut missing = Vec::new();
        for mount in mounts {
            let part = |mount: &Value, key: &str| {
                mount
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .trim_end_matches('/')
                    .to_owned()
            };
            let there = container.list("volumeMounts");
            let same = there.iter().find(|m| part(m, "mountPath") == part(mount, "mountPath"));
            match same {
                None => missing.push(mount.clone()),
                Some(same) if part(same, "name") == part(mount, "name") => {}
                Some(same) => self.occupied(container, &part(same, "mountPath")),
            }
        }
        self.extend(container.at.clone(), "volumeMounts", None, missing);
    }

    fn occupied(&mut self, container: &Container<'_>, place: &str) {
        let at: Path = container.at.clone();
        self.refuse(
            at,
            &format!("the container `{}` mounts something else at `{place}`", container.name),
            "Sidekey's volume goes there",
            "give the volume in the config another `path`, or leave the container out with `sidekey.dev/containers`",
        );
    }
}
