//! The closed sets of the report: each value is one word, the same in JSON, in the options and in
//! the docs.

/// Defines an enum whose values are words: `word()`, `ALL`, `FromStr` and `Display`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word that stands for it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::scan::finding::UnknownWord;

            fn from_str(word: &str) -> Result<$name, Self::Err> {
                let known = $name::ALL.iter().copied().find(|value| value.word() == word);
                known.ok_or_else(|| $crate::scan::finding::UnknownWord {
                    known: $name::ALL.iter().map(|value| value.word()).collect(),
                })
            }
        }
    };
}

pub(in crate::scan) use words;

/// A word that is not in its closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not one of {}", known.join(", "))]
pub struct UnknownWord {
    /// The words that are.
    pub known: Vec<&'static str>,
}

words! {
    /// What the credential grants to whoever finds it. The worst comes first.
    Severity {
        /// Whole accounts, clusters or signing keys.
        Critical = "critical",
        /// Write access to data or code.
        High = "high",
        /// Limited or read access.
        Medium = "medium",
        /// Little, or only together with something else.
        Low = "low",
        /// Worth knowing, never failing by default: publishable, expired, encrypted, machine-made.
        Info = "info",
    }
}

words! {
    /// How sure we are. The surest comes first.
    Confidence {
        /// A checksum, a key that parses, a structure that decodes.
        Proved = "proved",
        /// Its form and its surroundings say so.
        Likely = "likely",
        /// It might be; not shown by default.
        Possible = "possible",
    }
}

words! {
    /// What became of it in later layers. The most visible comes first.
    State {
        /// A container started from the image sees it.
        Present = "present",
        /// A later layer (or a later entry of the same tar) put something else in its place.
        Overwritten = "overwritten",
        /// A later layer removed it; whoever has the image still has it.
        Deleted = "deleted",
    }
}

words! {
    /// What kind of place holds it.
    PlaceKind {
        /// The content of a file in a layer.
        File = "file",
        /// The name of a file, or the target of a link.
        Filename = "filename",
        /// A variable of the config's environment.
        Env = "env",
        /// A label of the config.
        Label = "label",
        /// The default command.
        Command = "command",
        /// The entry point.
        Entrypoint = "entrypoint",
        /// The health check's command.
        Healthcheck = "healthcheck",
        /// An instruction in the history: build arguments, commands.
        History = "history",
        /// The author of the image or of a history entry.
        Author = "author",
        /// An annotation of an index, a manifest or a descriptor.
        Annotation = "annotation",
        /// A document about the build: provenance, SBOM.
        Attestation = "attestation",
        /// Bytes outside every member: header gaps, trailing bytes, comments, PAX values.
        Hidden = "hidden",
    }
}

words! {
    /// How one gets from the outer bytes to the inner ones.
    Via {
        /// A member of the zip family: jar, war, whl, apk, nupkg.
        Zip = "zip",
        /// A member of a tar.
        Tar = "tar",
        /// Inflated gzip.
        Gzip = "gzip",
        /// Decompressed zstd.
        Zstd = "zstd",
        /// Decompressed xz.
        Xz = "xz",
        /// Decompressed bzip2.
        Bzip2 = "bzip2",
        /// A member of an ar archive: deb, static libraries.
        Ar = "ar",
        /// A member of a cpio archive.
        Cpio = "cpio",
        /// The payload of an rpm.
        Rpm = "rpm",
        /// A header's own fields: PAX values, extra fields, gaps.
        Header = "header",
        /// An extended attribute.
        Xattr = "xattr",
        /// A comment of gzip or zip.
        Comment = "comment",
        /// Bytes after the end of an archive.
        Trailer = "trailer",
        /// Decoded base64, standard or URL alphabet.
        Base64 = "base64",
        /// Decoded hexadecimal.
        Hex = "hex",
        /// Decoded percent escapes.
        Percent = "percent",
        /// UTF-16, little endian.
        Utf16le = "utf16le",
        /// UTF-16, big endian.
        Utf16be = "utf16be",
        /// JSON or shell escapes of line ends.
        Escape = "escape",
        /// A cell of an SQLite database.
        Sqlite = "sqlite",
        /// A constant of compiled Python.
        Pyc = "pyc",
    }
}

words! {
    /// Whose layer it is.
    Origin {
        /// The layers up to here are those of the base image that was named.
        Base = "base",
        /// Added on top of the base image.
        Own = "own",
        /// The base could not be verified; treated as own.
        Unknown = "unknown",
    }
}

words! {
    /// Where the image came from.
    SourceKind {
        /// What `docker save` writes.
        DockerArchive = "docker-archive",
        /// An OCI layout in a tar.
        OciArchive = "oci-archive",
        /// An OCI layout as a directory.
        OciDir = "oci-dir",
        /// A registry.
        Registry = "registry",
        /// The Docker daemon.
        Docker = "docker",
        /// The podman service.
        Podman = "podman",
        /// A tar on standard input.
        Stdin = "stdin",
        /// A file tree.
        Dir = "dir",
    }
}

words! {
    /// Why bytes were not read as what they are.
    SkipReason {
        /// The layer's blob is missing or could not be opened.
        LayerUnreadable = "layer_unreadable",
        /// The layer ends before its archive does.
        LayerTruncated = "layer_truncated",
        /// The bytes are not those that the digest or the size promises.
        DigestMismatch = "digest_mismatch",
        /// The layer is compressed in a way that is not known.
        UnknownLayerCompression = "unknown_layer_compression",
        /// The layer is kept elsewhere and was not fetched.
        ForeignLayer = "foreign_layer",
        /// The layer is encrypted.
        EncryptedLayer = "encrypted_layer",
        /// A bound was hit.
        Limit = "limit",
        /// The time was up.
        Timeout = "timeout",
        /// Reading failed.
        Io = "io",
        /// The process that reads the layer ended without a word.
        ParserCrashed = "parser_crashed",
        /// An inner container is not what it seemed; its raw bytes were matched.
        NestedCorrupt = "nested_corrupt",
        /// A member is encrypted; its raw bytes were matched.
        EncryptedMember = "encrypted_member",
        /// A known format that is not opened; its raw bytes were matched.
        UnsupportedFormat = "unsupported_format",
        /// A large random-access file, matched as raw bytes and local headers.
        Partly = "partly",
        /// Objects of a git repository, which are not opened.
        GitObjects = "git_objects",
    }
}

impl SkipReason {
    /// Whether bytes of a layer, config or manifest met no detector. The others are notes.
    pub fn is_incomplete(self) -> bool {
        self <= SkipReason::ParserCrashed
    }
}

words! {
    /// What the scan as a whole says.
    Verdict {
        /// Everything was read, and nothing found.
        Clean = "clean",
        /// Something was found that counts.
        Findings = "findings",
        /// Nothing was found that counts, but not everything was read.
        Incomplete = "incomplete",
        /// An image gave no result at all.
        Failed = "failed",
    }
}

words! {
    /// Who silenced a finding.
    SuppressedBy {
        /// An entry of the baseline.
        Baseline = "baseline",
        /// A comment beside it, `sidekey:allow`.
        Inline = "inline",
        /// An exclusion in the configuration.
        Config = "config",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_back_as_its_value() {
        for &kind in PlaceKind::ALL {
            assert_eq!(kind.word().parse::<PlaceKind>(), Ok(kind));
        }
        for &reason in SkipReason::ALL {
            assert_eq!(reason.word().parse::<SkipReason>(), Ok(reason));
        }
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_known_ones() {
        let error = "urgent".parse::<Severity>().unwrap_err();
        assert_eq!(error.to_string(), "not one of critical, high, medium, low, info");
    }

    #[test]
    fn ten_reasons_are_incomplete_and_the_others_are_notes() {
        let incomplete = SkipReason::ALL.iter().filter(|reason| reason.is_incomplete()).count();
        assert_eq!((incomplete, SkipReason::ALL.len()), (10, 15));
        assert!(!SkipReason::NestedCorrupt.is_incomplete());
    }
}
