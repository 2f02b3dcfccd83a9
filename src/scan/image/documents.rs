//! Manifests, indexes and configs: JSON from an image as typed data, within bounds.
//!
//! A field of the wrong type is absent, a list that is too long is cut and says so. What nobody here
//! knows is ignored: the bytes of every document meet the detector as well.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Entries of a list or map that are kept: [`crate::scan::limits::Limits::document_entries`].
const MOST: usize = 10_000;

/// Why a document is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or not of the kind that it has to be.
    #[error("is no JSON document of its kind (line {line}, column {column})")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It has both `layers` and `manifests`: readers disagree what it is (CVE-2021-41190).
    #[error("has both `layers` and `manifests`")]
    Ambiguous,
    /// Schema 1, which no engine writes since 2017.
    #[error("is a manifest of schema 1, which is not supported")]
    Schema1,
}

/// Reads a document.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes)
        .map_err(|error| DocumentError::Malformed { line: error.line(), column: error.column() })
}

/// A list that is cut when it is too long, and empty when it is none.
#[derive(Clone, Debug)]
pub struct List<T> {
    /// What is kept.
    pub items: Vec<T>,
    /// There was more.
    pub cut: bool,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { items: Vec::new(), cut: false }
    }
}

/// A map from text to text, in its order.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// What is kept.
    pub items: Vec<(String, String)>,
    /// There was more.
    pub cut: bool,
}

impl Pairs {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.items.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// A text, empty when it is something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// Visitor methods for everything that is ignored.
macro_rules! ignore_scalars {
    ($value:ty, $($method:ident: $from:ty),+) => {
        $(fn $method<E>(self, _: $from) -> Result<$value, E> { Ok(Self::Value::default()) })+
        fn visit_unit<E>(self) -> Result<$value, E> { Ok(Self::Value::default()) }
        fn visit_none<E>(self) -> Result<$value, E> { Ok(Self::Value::default()) }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("anything") }
    };
}

/// Takes a sequence to its end.
fn pass_sequence<'de, A: SeqAccess<'de>>(mut sequence: A) -> Result<(), A::Error> {
    while sequence.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Takes a map to its end.
fn pass_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Text;
            ignore_scalars!(Text, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Text, A::Error> {
                pass_sequence(sequence).map(|()| Text::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
                pass_map(map).map(|()| Text::default())
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = List<T>;
            ignore_scalars!(List<T>, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
                visit_str: &str);
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<T>, A::Error> {
                let mut list = List::default();
                while list.items.len() < MOST {
                    match sequence.next_element()? {
                        Some(item) => list.items.push(item),
                        None => return Ok(list),
                    }
                }
                while sequence.next_element::<IgnoredAny>()?.is_some() {
                    list.cut = true;
                }
                Ok(list)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<List<T>, A::Error> {
                pass_map(map).map(|()| List::default())
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Pairs;
            ignore_scalars!(Pairs, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
                visit_str: &str);
            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Pairs, A::Error> {
                pass_sequence(sequence).map(|()| Pairs::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Pairs::default();
                while let Some(key) = map.next_key::<String>()? {
                    if pairs.items.len() >= MOST {
                        map.next_value::<IgnoredAny>()?;
                        pairs.cut = true;
                        continue;
                    }
                    pairs.items.push((key, map.next_value::<Text>()?.0));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// One image of a docker-archive's `manifest.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Saved {
    /// The member that is the config.
    pub config: Text,
    /// Its names.
    pub repo_tags: List<Text>,
    /// The members that are its layers.
    pub layers: List<Text>,
}

/// What points to a blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Descriptor {
    /// What it claims to be.
    pub media_type: Text,
    /// Its digest.
    pub digest: Text,
    /// Its size.
    pub size: Option<u64>,
    /// Where else it is kept.
    pub urls: List<Text>,
    /// What is said of it.
    pub annotations: Pairs,
    /// What it runs on.
    pub platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `linux`.
    pub os: Text,
    /// `amd64`.
    pub architecture: Text,
    /// `v8`.
    pub variant: Text,
}

impl Platform {
    /// `os/architecture[/variant]`; none if nothing is said.
    pub fn text(&self) -> Option<String> {
        let parts = [&self.os.0, &self.architecture.0, &self.variant.0];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        let said = parts.iter().rposition(|part| !part.is_empty())?;
        Some(parts[..=said].join("/"))
    }
}

/// An index or a manifest: which one, its content says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Either {
    schema_version: Option<u64>,
    media_type: Text,
    artifact_type: Text,
    manifests: Option<List<Descriptor>>,
    layers: Option<List<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
    config: Option<Descriptor>,
    annotations: Pairs,
}

/// A list of manifests.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What it lists.
    pub manifests: List<Descriptor>,
    /// What is said of it.
    pub annotations: Pairs,
}

/// A manifest.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// The config.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: List<Descriptor>,
    /// What is said of it.
    pub annotations: Pairs,
    /// It is no image: a chart, a model, a signature.
    pub artifact: bool,
}

/// What a document turned out to be.
#[derive(Clone, Debug)]
pub enum Document {
    /// A list of manifests.
    Listing(Listing),
    /// A manifest.
    Manifest(Box<Manifest>),
}

/// Reads an index or a manifest, whatever its media type claims.
pub fn index_or_manifest(bytes: &[u8]) -> Result<Document, DocumentError> {
    let either: Either = parse(bytes)?;
    let _ = either.media_type;
    match (either.manifests, either.layers) {
        (Some(_), Some(_)) => Err(DocumentError::Ambiguous),
        (Some(manifests), None) => {
            Ok(Document::Listing(Listing { manifests, annotations: either.annotations }))
        }
        (None, layers) => {
            if either.fs_layers.is_some() || either.schema_version == Some(1) {
                return Err(DocumentError::Schema1);
            }
            let config = either.config.ok_or(DocumentError::Malformed { line: 1, column: 1 })?;
            let artifact = !either.artifact_type.0.is_empty() || !is_image_config(&config);
            let layers = layers.unwrap_or_default();
            let annotations = either.annotations;
            Ok(Document::Manifest(Box::new(Manifest { config, layers, annotations, artifact })))
        }
    }
}

fn is_image_config(config: &Descriptor) -> bool {
    let known = ["application/vnd.oci.image.config", "application/vnd.docker.container.image"];
    config.media_type.0.is_empty()
        || known.iter().any(|begin| config.media_type.0.starts_with(begin))
}

/// An image's config.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// `linux`.
    pub os: Text,
    /// `amd64`.
    pub architecture: Text,
    /// `v8`.
    pub variant: Text,
    /// Who made it.
    pub author: Text,
    /// A remark.
    pub comment: Text,
    /// How it runs.
    pub config: Option<Run>,
    /// The layers unpacked.
    pub rootfs: Option<Rootfs>,
    /// How it was made.
    pub history: List<Step>,
}

/// How a container of the image runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Run {
    /// `NAME=value`.
    pub env: List<Text>,
    /// The arguments.
    pub cmd: List<Text>,
    /// The program.
    pub entrypoint: List<Text>,
    /// What is said of it.
    pub labels: Pairs,
    /// How it is probed.
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for images built upon it.
    pub on_build: List<Text>,
}

/// How a container is probed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// The command.
    pub test: List<Text>,
}

/// The layers unpacked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rootfs {
    /// Their digests, the lowest first.
    pub diff_ids: List<Text>,
}

/// An instruction of the build.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The instruction.
    pub created_by: Text,
    /// Who wrote it.
    pub author: Text,
    /// A remark.
    pub comment: Text,
    /// It made no layer.
    pub empty_layer: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_with_layers_and_manifests_is_refused() {
        let text = br#"{"schemaVersion":2,"layers":[],"manifests":[],"config":{}}"#;
        assert!(matches!(index_or_manifest(text), Err(DocumentError::Ambiguous)));
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        for text in [&br#"{"schemaVersion":1,"fsLayers":[]}"#[..], br#"{"fsLayers":[]}"#] {
            assert!(matches!(index_or_manifest(text), Err(DocumentError::Schema1)));
        }
    }

    #[test]
    fn a_field_of_another_type_is_absent_and_a_field_given_twice_is_refused() {
        let text = br#"{"config":{"Env":null,"Labels":7,"Cmd":"x"},"history":{}}"#;
        let config: Config = parse(text).unwrap();
        assert!(config.config.unwrap().env.items.is_empty());
        assert!(parse::<Config>(br#"{"os":"a","os":"b"}"#).is_err());
    }

    #[test]
    fn a_million_history_entries_are_cut() {
        let text = format!(r#"{{"history":[{}{{}}]}}"#, "{},".repeat(1_000_000));
        let config: Config = parse(text.as_bytes()).unwrap();
        assert_eq!((config.history.items.len(), config.history.cut), (MOST, true));
    }
}
