//! From an image's documents to what has to be read: which images there are, which layers they have,
//! which blob each layer is. Documents meet the detector on the way.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::documents::{
    self, Config, Descriptor, Document, DocumentError, Listing, Manifest, Saved,
};
use super::feed::Fault;
use super::history;
use super::layer::{Expected, Role};
use super::platform::Wanted;
use super::store::{Archive, Name, Store};
use crate::scan::finding::{SkipReason, Trouble};
use crate::scan::limits::{Bound, Limits};

/// Indexes inside of indexes that are followed. Registries have one inside of none.
const MOST_INDEXES: u32 = 4;

/// A layer, as the documents tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedLayer {
    /// The blob's key. None for a layer that is not there to be read.
    pub key: Option<String>,
    /// The digest of the blob as the manifest tells it.
    pub digest: Option<String>,
    /// The digest of the blob unpacked.
    pub diff_id: Option<String>,
    /// What the manifest says it is.
    pub media_type: Option<String>,
    /// Bytes as stored.
    pub size: Option<u64>,
    /// The instruction that made it.
    pub instruction: Option<String>,
    /// It has to be a tar.
    pub tar: bool,
    /// It is kept elsewhere.
    pub foreign: bool,
}

/// An image on one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its names where it came from.
    pub names: Vec<String>,
    /// Digest of the index it is listed in.
    pub index_digest: Option<String>,
    /// Digest of its manifest.
    pub digest: Option<String>,
    /// Digest of its config.
    pub config_digest: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// `docker save` wrote it.
    pub saved: bool,
    /// The base image that an annotation names, and its digest.
    pub base: Option<(String, Option<String>)>,
    /// The lowest first.
    pub layers: Vec<PlannedLayer>,
    /// Keys of documents and attestations that belong to it.
    pub documents: Vec<String>,
    /// Why it can't be read at all: what, why, hint.
    pub error: Option<[String; 3]>,
    /// What is known beforehand not to be read: reason, layer, detail.
    pub skips: Vec<(String, Option<u32>, Option<String>)>,
}

impl Planned {
    fn skip(&mut self, reason: SkipReason, layer: Option<u32>, detail: impl Into<String>) {
        self.skips.push((reason.word().to_owned(), layer, Some(detail.into())));
    }
}

/// A blob that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The same blob has the same one in all images of a run.
    pub key: String,
    /// What to ask for.
    pub name: Name,
    /// What it has to be.
    pub expected: Expected,
}

/// A document on its way through the planner, for the detector.
pub enum Shown<'a> {
    /// A config.
    Config(&'a Config, &'a [u8]),
    /// A manifest or index.
    Manifest(&'a [(String, String)], &'a [u8]),
    /// Something else.
    Other(&'a [u8]),
}

/// What came of the documents.
#[derive(Debug, Default)]
pub struct Plan {
    /// In the order of the documents.
    pub images: Vec<Planned>,
    /// Each blob once.
    pub tasks: Vec<Task>,
}

/// Reads the documents of one source.
pub struct Planner<'a> {
    /// The source, from 0: what has no digest is known by it and its path.
    pub source: usize,
    /// Where they are.
    pub store: &'a Store<'a>,
    /// The bounds.
    pub limits: &'a Limits,
    /// Which platforms.
    pub wanted: &'a Wanted,
    /// Sees every document, by its key.
    pub show: &'a mut dyn FnMut(&str, &Shown<'_>),
    plan: Plan,
    keys: BTreeSet<String>,
    shown: BTreeSet<String>,
}

/// Where a manifest was listed.
#[derive(Clone, Default)]
struct Listed {
    index_digest: Option<String>,
    names: Vec<String>,
    documents: Vec<String>,
    platform: Option<String>,
}

impl<'a> Planner<'a> {
    /// A planner that has read nothing yet.
    pub fn new(
        source: usize,
        store: &'a Store<'a>,
        limits: &'a Limits,
        wanted: &'a Wanted,
        show: &'a mut dyn FnMut(&str, &Shown<'_>),
    ) -> Planner<'a> {
        let (plan, keys, shown) = Default::default();
        Planner { source, store, limits, wanted, show, plan, keys, shown }
    }

    /// Everything that an OCI layout, a registry or an archive lists.
    pub fn plan(mut self) -> Result<Plan, Trouble> {
        let root = self.read(&Name::Root)?;
        let saved = self.read(&Name::Member("manifest.json".to_owned()))?;
        if root.is_none() && saved.is_none() {
            return Err(trouble(
                "holds no image",
                "there is neither `index.json` nor `manifest.json`",
                "write it with `docker save`, `podman save` or `skopeo copy`",
            ));
        }
        if let Some(bytes) = root {
            self.root(&bytes)?;
        }
        if let Some(bytes) = saved {
            self.saved(&bytes)?;
            self.plan.images.iter_mut().for_each(|planned| planned.saved = true);
        }
        if self.plan.images.is_empty() {
            let why = "no image of it fits the platform that was asked for";
            return Err(trouble(
                "has nothing to read",
                why,
                "choose another `--platform`, or `all`",
            ));
        }
        Ok(self.plan)
    }

    fn read(&self, name: &Name) -> Result<Option<Vec<u8>>, Trouble> {
        let read = self.store.document(name, self.limits.document_bytes);
        read.map_err(|fault| unreadable(name, &fault))
    }

    fn show(&mut self, key: &str, shown: &Shown<'_>) {
        if self.shown.insert(key.to_owned()) {
            (self.show)(key, shown);
        }
    }

    fn root(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let key = sha256(bytes);
        let document = documents::index_or_manifest(bytes)
            .map_err(|error| refused("the root document", error))?;
        match document {
            Document::Listing(listing) => {
                self.show(&key, &Shown::Manifest(&listing.annotations.items, bytes));
                let listed = Listed {
                    documents: vec![key.clone()],
                    index_digest: Some(key),
                    ..Listed::default()
                };
                self.listing(&listing, &listed, 0);
            }
            Document::Manifest(manifest) => {
                let mut planned = Planned { digest: Some(key), ..Planned::default() };
                self.manifest(&manifest, bytes, &mut planned);
                self.plan.images.push(planned);
            }
        }
        Ok(())
    }

    fn listing(&mut self, listing: &Listing, listed: &Listed, depth: u32) {
        let chosen = self.wanted.choose(&listing.manifests.items);
        for (at, descriptor) in listing.manifests.items.iter().enumerate() {
            if attests(descriptor).is_some() || !chosen.contains(&at) {
                continue;
            }
            let mut listed = listed.clone();
            listed.names.extend(names(descriptor));
            listed.platform = descriptor.platform.as_ref().and_then(|platform| platform.text());
            let digest = descriptor.digest.0.as_str();
            let attestations =
                listing.manifests.items.iter().filter(|other| attests(other) == Some(digest));
            for attestation in attestations {
                let mut documents = self.attestation(attestation);
                listed.documents.append(&mut documents);
            }
            self.described(descriptor, &listed, depth);
        }
        if listing.manifests.cut {
            let mut planned = Planned { names: listed.names.clone(), ..Planned::default() };
            planned.skip(SkipReason::Limit, None, Bound::DocumentEntries.text());
            self.plan.images.push(planned);
        }
    }

    /// A manifest or an index that something lists.
    fn described(&mut self, descriptor: &Descriptor, listed: &Listed, depth: u32) {
        let digest = descriptor.digest.0.clone();
        let mut planned = Planned {
            names: listed.names.clone(),
            index_digest: listed.index_digest.clone(),
            digest: Some(digest.clone()),
            platform: listed.platform.clone(),
            documents: listed.documents.clone(),
            ..Planned::default()
        };
        let failed = match self.fetch(&Name::Manifest(digest.clone())) {
            Ok(bytes) => match documents::index_or_manifest(&bytes) {
                Ok(Document::Listing(listing)) if depth < MOST_INDEXES => {
                    self.show(&digest, &Shown::Manifest(&listing.annotations.items, &bytes));
                    let mut listed = listed.clone();
                    listed.documents.push(digest.clone());
                    listed.index_digest = Some(digest);
                    return self.listing(&listing, &listed, depth + 1);
                }
                Ok(Document::Listing(_)) => {
                    Some(trouble("can't be read", "indexes are nested too deep", HINT_WHOLE))
                }
                Ok(Document::Manifest(manifest)) => {
                    self.manifest(&manifest, &bytes, &mut planned);
                    None
                }
                Err(error) => Some(refused("the manifest", error)),
            },
            Err(error) => Some(error),
        };
        planned.error = failed.map(|failed| [failed.what, failed.why, failed.hint]);
        self.plan.images.push(planned);
    }

    /// A document that has to be there, with the digest that it has to have.
    fn fetch(&self, name: &Name) -> Result<Vec<u8>, Trouble> {
        let Some(bytes) = self.read(name)? else {
            let why = format!("`{}` is missing", name.path());
            return Err(trouble("is not whole", &why, HINT_WHOLE));
        };
        if name
            .digest()
            .is_some_and(|digest| !digest.starts_with("sha256:") || sha256(&bytes) != digest)
        {
            let why = format!("`{}` does not have the digest of its name", name.path());
            return Err(trouble("was changed or damaged", &why, HINT_WHOLE));
        }
        Ok(bytes)
    }

    fn manifest(&mut self, manifest: &Manifest, bytes: &[u8], planned: &mut Planned) {
        let key = sha256(bytes);
        let said: Vec<(String, String)> = manifest
            .layers
            .items
            .iter()
            .chain([&manifest.config])
            .flat_map(|descriptor| descriptor.annotations.items.clone())
            .chain(manifest.annotations.items.clone())
            .collect();
        self.show(&key, &Shown::Manifest(&said, bytes));
        planned.documents.push(key);
        let base =
            |key: &str| manifest.annotations.get(&format!("org.opencontainers.image.base.{key}"));
        planned.base =
            base("name").map(|name| (name.to_owned(), base("digest").map(str::to_owned)));
        let config = self.config(&manifest.config, planned);
        let layers = &manifest.layers.items;
        if manifest.layers.cut || manifest.annotations.cut {
            planned.skip(SkipReason::Limit, None, Bound::DocumentEntries.text());
        }
        let config = if manifest.artifact { Config::default() } else { config };
        let role = if manifest.artifact { Role::Blob } else { Role::Layer };
        let diff_ids = diff_ids(&config, layers.len(), planned, manifest.artifact);
        let steps = history::steps_of_layers(&config.history.items, layers.len());
        for (at, descriptor) in layers.iter().enumerate() {
            let diff_id = diff_ids.get(at).cloned();
            let instruction = steps[at].map(|step| instruction_of(&config, step));
            self.layer(descriptor, role, diff_id, instruction, planned);
        }
    }

    /// The config, which an artifact may not have.
    fn config(&mut self, descriptor: &Descriptor, planned: &mut Planned) -> Config {
        let digest = descriptor.digest.0.clone();
        planned.config_digest = Some(digest.clone());
        match self.fetch(&Name::Blob(digest.clone())) {
            Ok(bytes) => self.config_bytes(&digest, &bytes, planned),
            Err(error) => {
                planned.skip(
                    SkipReason::LayerUnreadable,
                    None,
                    format!("the config: {}", error.why),
                );
                Config::default()
            }
        }
    }

    fn config_bytes(&mut self, key: &str, bytes: &[u8], planned: &mut Planned) -> Config {
        planned.documents.push(key.to_owned());
        let config: Config = match documents::parse(bytes) {
            Ok(config) => config,
            Err(error) => {
                self.show(key, &Shown::Other(bytes));
                planned.skip(SkipReason::LayerUnreadable, None, format!("the config {error}"));
                return Config::default();
            }
        };
        self.show(key, &Shown::Config(&config, bytes));
        let platform = documents::Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        };
        planned.platform = platform.text().or(planned.platform.take());
        let run = config.config.as_ref();
        let cut = config.history.cut
            || run.is_some_and(|run| {
                run.env.cut || run.labels.cut || run.cmd.cut || run.entrypoint.cut
            });
        if cut {
            planned.skip(SkipReason::Limit, None, Bound::DocumentEntries.text());
        }
        config
    }

    fn layer(
        &mut self,
        descriptor: &Descriptor,
        role: Role,
        diff_id: Option<String>,
        instruction: Option<String>,
        planned: &mut Planned,
    ) {
        let at = u32::try_from(planned.layers.len()).unwrap_or(u32::MAX);
        let tar = role == Role::Layer || is_tar_type(&descriptor.media_type.0);
        let digest = descriptor.digest.0.clone();
        let media = descriptor.media_type.0.clone();
        let foreign = !descriptor.urls.items.is_empty()
            || media.contains(".foreign.")
            || media.contains(".nondistributable.");
        let key = if media.ends_with("+encrypted") {
            planned.skip(SkipReason::EncryptedLayer, Some(at), "the layer is encrypted");
            None
        } else if !is_digest(&digest) {
            planned.skip(
                SkipReason::LayerUnreadable,
                Some(at),
                "the manifest gives no digest of it",
            );
            None
        } else {
            let expected = Expected {
                digest: Some(digest.clone()),
                size: descriptor.size,
                diff_id: diff_id.clone(),
                role: if tar { Role::Layer } else { role },
            };
            self.task(digest.clone(), Name::Blob(digest.clone()), expected);
            Some(digest.clone())
        };
        planned.layers.push(PlannedLayer {
            key,
            digest: Some(digest),
            diff_id,
            media_type: Some(media).filter(|media| !media.is_empty()),
            size: descriptor.size,
            instruction,
            tar,
            foreign,
        });
    }

    fn task(&mut self, key: String, name: Name, expected: Expected) {
        if self.keys.insert(key.clone()) {
            self.plan.tasks.push(Task { key, name, expected });
        }
    }

    /// The blobs of a document about a build. Their keys.
    fn attestation(&mut self, descriptor: &Descriptor) -> Vec<String> {
        let digest = descriptor.digest.0.clone();
        let Ok(bytes) = self.fetch(&Name::Manifest(digest.clone())) else { return vec![digest] };
        self.show(&digest, &Shown::Other(&bytes));
        let mut keys = vec![digest];
        if let Ok(Document::Manifest(manifest)) = documents::index_or_manifest(&bytes) {
            for layer in manifest.layers.items.iter().filter(|layer| is_digest(&layer.digest.0)) {
                let digest = layer.digest.0.clone();
                let expected = Expected {
                    digest: Some(digest.clone()),
                    size: layer.size,
                    diff_id: None,
                    role: Role::Attestation,
                };
                self.task(digest.clone(), Name::Blob(digest.clone()), expected);
                keys.push(digest);
            }
        }
        keys
    }

    /// The images of a docker-archive that its index, if it has one, did not list.
    fn saved(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let images: documents::List<Saved> =
            documents::parse(bytes).map_err(|error| refused("`manifest.json`", error))?;
        self.show(&saved_key(self.source), &Shown::Other(bytes));
        for saved in &images.items {
            let names: Vec<String> =
                saved.repo_tags.items.iter().map(|tag| tag.0.clone()).collect();
            let config = self.read(&Name::Member(saved.config.0.clone()))?;
            let digest = config.as_deref().map(sha256);
            let known = self.plan.images.iter_mut().find(|known| {
                digest.is_some()
                    && known.config_digest == digest
                    && known.layers.len() == saved.layers.items.len()
            });
            match known {
                Some(known) => {
                    known.names = if names.is_empty() { known.names.clone() } else { names }
                }
                None => self.saved_image(saved, names, config.as_deref()),
            }
        }
        Ok(())
    }

    fn saved_image(&mut self, saved: &Saved, names: Vec<String>, config: Option<&[u8]>) {
        let mut planned =
            Planned { names, documents: vec![saved_key(self.source)], ..Planned::default() };
        let config = match config {
            Some(bytes) => {
                let digest = sha256(bytes);
                planned.config_digest = Some(digest.clone());
                self.config_bytes(&digest, bytes, &mut planned)
            }
            None => {
                planned.skip(SkipReason::LayerUnreadable, None, "the config is missing");
                Config::default()
            }
        };
        if saved.layers.cut {
            planned.skip(SkipReason::Limit, None, Bound::DocumentEntries.text());
        }
        let count = saved.layers.items.len();
        let diff_ids = diff_ids(&config, count, &mut planned, false);
        let steps = history::steps_of_layers(&config.history.items, count);
        for (at, path) in saved.layers.items.iter().enumerate() {
            let real = self.store.real(&path.0);
            let key = blob_key(self.source, &real);
            let expected = Expected {
                digest: key.starts_with("sha256:").then(|| key.clone()),
                size: None,
                diff_id: diff_ids.get(at).cloned(),
                role: Role::Layer,
            };
            let digest = expected.digest.clone();
            self.task(key.clone(), Name::Member(real), expected);
            planned.layers.push(PlannedLayer {
                key: Some(key),
                digest,
                diff_id: diff_ids.get(at).cloned(),
                instruction: steps[at].map(|step| instruction_of(&config, step)),
                tar: true,
                ..PlannedLayer::default()
            });
        }
        self.plan.images.push(planned);
    }
}

const HINT_WHOLE: &str = "copy or save the image again";

/// The key of a docker-archive's own document.
fn saved_key(source: usize) -> String {
    format!("saved:{source}")
}

/// `blobs/sha256/…` is what its name says; anything else is known by its path.
pub fn blob_key(source: usize, path: &str) -> String {
    match path.strip_prefix("blobs/sha256/") {
        Some(hex) if is_digest(&format!("sha256:{hex}")) => format!("sha256:{hex}"),
        _ => format!("member:{source}:{path}"),
    }
}

fn is_digest(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_tar_type(media: &str) -> bool {
    media.contains(".tar") || media.contains("+tar") || media.ends_with("tar+gzip")
}

fn instruction_of(config: &Config, step: usize) -> String {
    history::instruction(&config.history.items[step].created_by.0).to_owned()
}

/// The digests of the unpacked layers, if they fit the layers.
fn diff_ids(config: &Config, layers: usize, planned: &mut Planned, artifact: bool) -> Vec<String> {
    let given = config.rootfs.as_ref().map(|rootfs| &rootfs.diff_ids.items);
    let given: Vec<String> = given.into_iter().flatten().map(|id| id.0.clone()).collect();
    if given.len() == layers {
        return given;
    }
    if !artifact && !given.is_empty() {
        let detail = format!("the config lists {} layers, the manifest {layers}", given.len());
        planned.skip(SkipReason::DigestMismatch, None, detail);
    }
    Vec::new()
}

/// Whose attestation a descriptor is.
fn attests(descriptor: &Descriptor) -> Option<&str> {
    let kind = descriptor.annotations.get("vnd.docker.reference.type")?;
    let subject = descriptor.annotations.get("vnd.docker.reference.digest");
    (kind == "attestation-manifest").then_some(subject.unwrap_or(""))
}

fn names(descriptor: &Descriptor) -> Option<String> {
    let name = descriptor.annotations.get("io.containerd.image.name");
    name.or(descriptor.annotations.get("org.opencontainers.image.ref.name")).map(str::to_owned)
}

/// The digest of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// A digest as it is written.
pub fn hex(hash: &[u8]) -> String {
    use std::fmt::Write;
    hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn trouble(what: &str, why: &str, hint: &str) -> Trouble {
    Trouble { what: what.to_owned(), why: why.to_owned(), hint: hint.to_owned() }
}

fn unreadable(name: &Name, fault: &Fault) -> Trouble {
    trouble("can't be read", &format!("`{}` {fault}", name.path()), HINT_WHOLE)
}

fn refused(what: &str, error: DocumentError) -> Trouble {
    let hint = match error {
        DocumentError::Schema1 => "push or save the image again with a current engine",
        DocumentError::Malformed { .. } | DocumentError::Ambiguous => HINT_WHOLE,
    };
    trouble("is no image that can be read", &format!("{what} {error}"), hint)
}

/// What an archive is called: it has the document of `docker save`, or only that of an OCI layout.
pub fn is_docker(archive: &Archive) -> bool {
    archive.has("manifest.json")
}
