//! Owns the spelling of image references: `oci:PATH[@sha256:…]`, `wasm:PATH`, `sha256:<64 hex>`.
//! Refuses registry names and tags: an image is a file to import or a digest, never a name that can move.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Error;

/// What a user may write where an image is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An OCI image layout (directory or tar), and which of its images when it has several.
    Oci {
        /// The layout.
        path: PathBuf,
        /// The manifest (or nested index) wanted.
        select: Option<Digest>,
    },
    /// A WASM module in binary or text form.
    Wasm {
        /// The module file.
        path: PathBuf,
    },
    /// An image that the store already holds, or that peers can serve.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::ParseReference {
            text: text.chars().take(200).collect(),
            reason: reason.to_owned(),
        };
        if text.starts_with("sha256:") {
            let digest = text.parse().map_err(|_| refuse("a digest is sha256: and 64 hex digits"))?;
            return Ok(Self::Digest(digest));
        }
        if let Some(path) = text.strip_prefix("wasm:") {
            if path.is_empty() {
                return Err(refuse("wasm: needs a path"));
            }
            return Ok(Self::Wasm { path: path.into() });
        }
        let Some(rest) = text.strip_prefix("oci:") else {
            return Err(refuse("expected oci:PATH, wasm:PATH or sha256:<64 hex>"));
        };
        let (path, select) = match rest.rsplit_once('@') {
            Some((path, digest)) if digest.starts_with("sha256:") => {
                let digest = digest.parse().map_err(|_| refuse("what follows @ is not a digest"))?;
                (path, Some(digest))
            }
            _ => (rest, None),
        };
        if path.is_empty() {
            return Err(refuse("oci: needs a path"));
        }
        Ok(Self::Oci { path: path.into(), select })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci { path, select: None } => write!(f, "oci:{}", path.display()),
            Self::Oci { path, select: Some(digest) } => write!(f, "oci:{}@{digest}", path.display()),
            Self::Wasm { path } => write!(f, "wasm:{}", path.display()),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_prints_as_it_was_parsed() {
        let digest = crate::digest::digest_of(b"x");
        for text in
            ["oci:/a/b.tar".into(), format!("oci:/a@b@{digest}"), "wasm:m.wat".into(), digest.to_string()]
        {
            assert_eq!(text.parse::<Reference>().expect("a reference").to_string(), text);
        }
    }

    #[test]
    fn names_tags_and_malformed_digests_are_refused() {
        for text in
            ["", "nginx", "nginx:latest", "oci:", "wasm:", "sha256:12", "oci:a@sha256:zz", "SHA256:00"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text:?} was accepted");
        }
        let upper = format!("sha256:{}", "A".repeat(64));
        assert!(upper.parse::<Reference>().is_err(), "one digest must have one spelling");
    }
}
