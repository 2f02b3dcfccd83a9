//! Whom Sidekey runs as, and with which group it shares the files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod::number;
use super::{Draft, Facts, Uid, way};
use crate::kube::annotation;

/// The image's uid, and the group that shares the files.
const OURS: u32 = 64917;
/// The group that may read the binary: no container of a running agent has it.
const BINARY: u32 = 64918;

/// Uid, gid and the groups of the pod.
pub(super) struct Who {
    /// Nothing: the platform gives one.
    pub(super) uid: Option<u32>,
    /// The same.
    pub(super) gid: Option<u32>,
    /// Groups that Sidekey and the application must both have.
    pub(super) groups: BTreeSet<u32>,
}

impl Draft<'_> {
    pub(super) fn who(&mut self, facts: &Facts) -> Who {
        let uid = self.uid(facts);
        self.owners(facts, uid);
        if self.settings.uid == Uid::Omit {
            return Who { uid: None, gid: None, groups: BTreeSet::new() };
        }
        let gid = self.settings.group.unwrap_or(OURS);
        let mut groups = facts.groups.clone();
        let fs_group = self.pod.security("fsGroup");
        if fs_group.is_none() && (groups.is_empty() || self.settings.group.is_some()) {
            groups.insert(gid);
        }
        groups.retain(|group| Some(*group) != fs_group);
        Who { uid, gid: Some(gid), groups }
    }

    fn uid(&mut self, facts: &Facts) -> Option<u32> {
        match self.settings.uid {
            Uid::Omit => {
                self.weak(
                    "uid",
                    "Sidekey runs as whatever uid the platform gives",
                    "if that is the application's too, the application can reach Sidekey's token",
                    "leave `sidekey.dev/uid` out where the platform lets you choose",
                );
                None
            }
            Uid::Number(uid) => {
                if self.taken().contains(&uid) && !facts.signal {
                    self.refuse(
                        annotation::at("uid"),
                        &format!("a container of this pod runs as {uid}, too"),
                        "it could reach Sidekey's token",
                        "choose another, or write `application` if that is what you want",
                    );
                }
                Some(uid)
            }
            Uid::Application => self.application("uid"),
            Uid::Ours if facts.signal => self.application("config"),
            Uid::Ours => self.free(),
        }
    }

    /// The uids of the user's containers.
    fn taken(&self) -> BTreeSet<u32> {
        let each = self.pod.containers.iter().filter_map(|container| self.pod.uid_of(container));
        each.chain(self.pod.security("runAsUser")).collect()
    }

    /// The image's uid, or the next that no container has.
    fn free(&self) -> Option<u32> {
        let taken = self.taken();
        (OURS..u32::MAX).find(|uid| *uid != BINARY && !taken.contains(uid))
    }

    /// The uid of the containers that get the files.
    fn application(&mut self, because: &str) -> Option<u32> {
        let uids: BTreeSet<Option<u32>> = self
            .named()
            .filter(|container| !container.is_init)
            .map(|container| self.pod.uid_of(container))
            .collect();
        let one = uids.first().copied().flatten().filter(|uid| uids.len() == 1 && *uid > 0);
        if one.is_none() {
            let hint = "give the containers one `runAsUser` that is not 0, name one container in `sidekey.dev/containers`, or write the number in `sidekey.dev/uid`";
            let why = "the containers name no uid, several, or root";
            let what = "nobody knows the uid of the application";
            self.refuse(annotation::at(because), what, why, hint);
        }
        self.weak(
            because,
            "Sidekey runs as the application's uid",
            "the application can reach Sidekey's token",
            "tell the application by HTTP, if it can listen",
        );
        one
    }

    /// Only root gives files away.
    fn owners(&mut self, facts: &Facts, uid: Option<u32>) {
        for user in facts.users.iter().filter(|user| Some(**user) != uid) {
            self.refuse(
                annotation::at("config"),
                &format!("the config gives files to the uid {user}"),
                "only the uid that Sidekey runs as can own them",
                "write `sidekey.dev/uid: application`, or share by group and remove `owner_user`",
            );
        }
    }

    /// Gives the pod the groups. `fsGroup` is never added: it would change the owner of every volume.
    pub(super) fn groups(&mut self, who: &Who) {
        let there: Vec<u32> = self
            .pod
            .spec()
            .pointer("/securityContext/supplementalGroups")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|group| number(Some(group)))
            .collect();
        let missing: Vec<Value> =
            who.groups.iter().filter(|group| !there.contains(group)).map(|g| json!(g)).collect();
        self.extend(way!["spec", "securityContext"], "supplementalGroups", None, missing);
    }
}
