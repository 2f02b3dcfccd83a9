//! Names, each a type of its own, so that no one can be taken for another.

use std::fmt;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// A character outside `[A-Za-z0-9_]` (store, group and volume names also take `-`), or a digit in front.
    #[error("a name is made of letters, digits and `_`, and does not begin with a digit")]
    Character,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it is such a name.
            pub fn parse(text: &str) -> Result<$name, NameError> {
                let mut bytes = text.bytes();
                let first = bytes.next().ok_or(NameError::Empty)?;
                let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || $extra.contains(&b);
                if first.is_ascii_digit() || first == b'-' || !good(first) || !bytes.all(good) {
                    return Err(NameError::Character);
                }
                Ok($name(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a secret: `[A-Za-z_][A-Za-z0-9_]*`.
    SecretName,
    b""
);
name!(
    /// The name of a store: as a secret's, and `-` inside.
    StoreName,
    b"-"
);
name!(
    /// The name of a group of files: as a secret's, and `-` inside.
    GroupName,
    b"-"
);
name!(
    /// The name of a volume: as a secret's, and `-` inside.
    VolumeName,
    b"-"
);

/// Why a text is not the path of a file on a volume. The rules are those of the kubelet's
/// AtomicWriter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    /// Nothing there, or nothing between two slashes.
    #[error("a file path cannot be empty or have an empty part")]
    Empty,
    /// It begins with `/`.
    #[error("a file path is relative to its volume, so it cannot begin with `/`")]
    Absolute,
    /// A part is `.` or begins with `..`, which the volume keeps for itself.
    #[error("no part of a file path can be `.` or begin with `..`")]
    Dots,
    /// A part over 255 bytes, or the whole over 1024.
    #[error("a part of a file path has at most 255 bytes, the whole at most 1024")]
    TooLong,
    /// A control character or NUL.
    #[error("a file path cannot hold a control character")]
    Control,
}

/// Where a file stands beneath the root of its volume: `certs/tls.pem`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// Takes `text` if it stays beneath the volume and leaves the volume's own names alone.
    pub fn parse(text: &str) -> Result<FilePath, FilePathError> {
        if text.starts_with('/') {
            return Err(FilePathError::Absolute);
        }
        if text.len() > 1024 {
            return Err(FilePathError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(FilePathError::Control);
        }
        for part in text.split('/') {
            match part {
                "" => return Err(FilePathError::Empty),
                "." => return Err(FilePathError::Dots),
                part if part.starts_with("..") => return Err(FilePathError::Dots),
                part if part.len() > 255 => return Err(FilePathError::TooLong),
                _ => {}
            }
        }
        Ok(FilePath(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes, outermost first.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The first part: the name that stands in the root of the volume.
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_underscores() {
        assert!(SecretName::parse("db_1").is_ok());
        assert_eq!(SecretName::parse(""), Err(NameError::Empty));
        for bad in ["1db", "a-b", "a.b", "ä", "a b"] {
            assert_eq!(SecretName::parse(bad), Err(NameError::Character), "{bad}");
        }
        assert!(StoreName::parse("vault-eu").is_ok());
        assert!(StoreName::parse("-eu").is_err());
    }

    #[test]
    fn file_paths_stay_beneath_their_volume() {
        assert_eq!(
            FilePath::parse("certs/tls.pem").map(|p| p.top().to_owned()),
            Ok("certs".into())
        );
        for (bad, why) in [
            ("", FilePathError::Empty),
            ("a//b", FilePathError::Empty),
            ("a/", FilePathError::Empty),
            ("/etc/passwd", FilePathError::Absolute),
            ("../x", FilePathError::Dots),
            ("a/..data", FilePathError::Dots),
            ("./a", FilePathError::Dots),
            ("a\nb", FilePathError::Control),
        ] {
            assert_eq!(FilePath::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(FilePath::parse(&"a".repeat(256)), Err(FilePathError::TooLong));
    }
}
