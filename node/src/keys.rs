//! Keys on disk: one JSON file each, `{type, public, secret, address}`, readable by its owner alone.
//!
//! Owns making keys from the system's entropy, reading and writing their files, and the check that the parts of a file
//! belong together. Refuses a file that others may read, and says the command that closes it. Secrets are wiped from
//! memory when dropped; nothing here prints one except [`SecretKey::text`], which is what a file holds.

use metanode_p2p::NodeKey;
use metanode_types::account::AccountSecret;
use metanode_types::bls::BlsSecret;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key file at most.
pub const MAX_KEY_FILE_BYTES: u64 = 4096;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Signs transactions; Ed25519.
    Account,
    /// Signs votes; BLS12-381.
    Validator,
    /// Identifies a node towards its peers; Ed25519.
    Node,
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyType::Account => "account",
            KeyType::Validator => "validator",
            KeyType::Node => "node",
        })
    }
}

/// Why a key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("make a key: the system gives no randomness: {0}")]
    Entropy(getrandom::Error),
    /// The file could not be used.
    #[error("{intent} key file {}: {source}", path.display())]
    Access {
        /// What was being done.
        intent: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others may read or write the file.
    #[error(
        "read key file {path}: its mode is {mode:03o}, so others can read it; run: chmod 600 {path}",
        path = path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key file.
    #[error("read key file {}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file holds another type of key than the one needed.
    #[error("read key file {}: it holds a key of type {got}, {want} is needed", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Type in the file.
        got: KeyType,
        /// Type needed.
        want: KeyType,
    },
}

/// A secret key of any type.
#[derive(Clone, Debug)]
pub enum SecretKey {
    /// Of an account.
    Account(AccountSecret),
    /// Of a validator.
    Validator(BlsSecret),
    /// Of a node's identity, with its seed.
    Node(NodeSecret),
}

/// The seed of a node's identity.
#[derive(Clone)]
pub struct NodeSecret(Zeroizing<[u8; 32]>);

impl NodeSecret {
    /// The identity that the network uses.
    pub fn key(&self) -> NodeKey {
        NodeKey::from_seed(*self.0)
    }
}

impl std::fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeSecret({})", self.key().peer_id())
    }
}

/// The form on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    r#type: KeyType,
    public: String,
    secret: String,
    /// Account address or peer id; a validator is named by its account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// What may be told of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublicKey {
    /// What it is for.
    pub r#type: KeyType,
    /// The public part, as genesis and ledger write it.
    pub public: String,
    /// Account address or peer id.
    pub address: Option<String>,
    /// What a genesis needs beside a validator's public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_of_possession: Option<String>,
}

/// 32 bytes of the system's entropy.
pub fn entropy() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(KeyError::Entropy)?;
    Ok(seed)
}

/// A random number that no one can guess.
pub fn random_u64() -> Result<u64, KeyError> {
    getrandom::u64().map_err(KeyError::Entropy)
}

impl SecretKey {
    /// A new key.
    pub fn generate(kind: KeyType) -> Result<SecretKey, KeyError> {
        let seed = entropy()?;
        Ok(match kind {
            KeyType::Account => SecretKey::Account(AccountSecret::from_seed(*seed)),
            KeyType::Validator => SecretKey::Validator(BlsSecret::from_seed(&seed)),
            KeyType::Node => SecretKey::Node(NodeSecret(seed)),
        })
    }

    /// The key whose secret bytes are these.
    pub fn from_secret(kind: KeyType, secret: &[u8; 32]) -> Result<SecretKey, String> {
        Ok(match kind {
            KeyType::Account => SecretKey::Account(AccountSecret::from_seed(*secret)),
            KeyType::Validator => SecretKey::Validator(
                BlsSecret::from_bytes(secret).map_err(|_| "the secret is no BLS scalar")?,
            ),
            KeyType::Node => SecretKey::Node(NodeSecret(Zeroizing::new(*secret))),
        })
    }

    /// What it is for.
    pub fn kind(&self) -> KeyType {
        match self {
            SecretKey::Account(_) => KeyType::Account,
            SecretKey::Validator(_) => KeyType::Validator,
            SecretKey::Node(_) => KeyType::Node,
        }
    }

    /// What may be told of it.
    pub fn public(&self) -> PublicKey {
        let r#type = self.kind();
        let (public, address, proof_of_possession) = match self {
            SecretKey::Account(key) => {
                let public = key.public();
                let text = format!("{:02x}:{}", public.scheme, hex::encode(public.key));
                (text, Some(key.address().to_string()), None)
            }
            SecretKey::Validator(key) => {
                (key.public().to_string(), None, Some(key.prove_possession().to_string()))
            }
            SecretKey::Node(key) => {
                let peer = key.key().peer_id();
                (hex::encode(peer.as_key()), Some(peer.to_string()), None)
            }
        };
        PublicKey { r#type, public, address, proof_of_possession }
    }

    fn secret(&self) -> Zeroizing<String> {
        Zeroizing::new(match self {
            SecretKey::Account(key) => hex::encode(key.seed()),
            SecretKey::Validator(key) => hex::encode(key.to_bytes()),
            SecretKey::Node(key) => hex::encode(*key.0),
        })
    }

    /// The content of its file, secret included.
    pub fn text(&self) -> Zeroizing<String> {
        let PublicKey { r#type, public, address, .. } = self.public();
        let file = KeyFile { r#type, public, secret: self.secret().to_string(), address };
        let mut text = serde_json::to_string_pretty(&file).expect("a key file has only string keys");
        text.push('\n');
        Zeroizing::new(text)
    }

    /// Reads the content of a file; the parts must belong together.
    pub fn parse(text: &[u8]) -> Result<SecretKey, String> {
        let file: KeyFile = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(file.secret.as_bytes(), &mut *secret)
            .map_err(|_| "the secret is not 64 hex digits")?;
        let key = SecretKey::from_secret(file.r#type, &secret)?;
        let public = key.public();
        if public.public != file.public || public.address != file.address {
            return Err(
                "public key or address do not belong to the secret: the file was edited or damaged".into()
            );
        }
        Ok(key)
    }

    /// Writes a new file of mode 0600; refuses to replace one.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let fail = |source| KeyError::Access { intent: "write", path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        let written = file.write_all(self.text().as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| sync_directory(path)).map_err(fail)
    }

    /// Reads a file that nobody else can read.
    pub fn load(path: &Path) -> Result<SecretKey, KeyError> {
        let fail = |source| KeyError::Access { intent: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        let mode = file.metadata().map_err(fail)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES as usize));
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut text).map_err(fail)?;
        SecretKey::parse(&text).map_err(|why| KeyError::Malformed { path: path.to_owned(), why })
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn wrong_type<T>(path: &Path, got: KeyType, want: KeyType) -> Result<T, KeyError> {
    Err(KeyError::Type { path: path.to_owned(), got, want })
}

/// The account key in a file.
pub fn load_account(path: &Path) -> Result<AccountSecret, KeyError> {
    match SecretKey::load(path)? {
        SecretKey::Account(key) => Ok(key),
        other => wrong_type(path, other.kind(), KeyType::Account),
    }
}

/// The validator key in a file.
pub fn load_validator(path: &Path) -> Result<BlsSecret, KeyError> {
    match SecretKey::load(path)? {
        SecretKey::Validator(key) => Ok(key),
        other => wrong_type(path, other.kind(), KeyType::Validator),
    }
}

/// The node identity in a file.
pub fn load_node(path: &Path) -> Result<NodeKey, KeyError> {
    match SecretKey::load(path)? {
        SecretKey::Node(key) => Ok(key.key()),
        other => wrong_type(path, other.kind(), KeyType::Node),
    }
}

#[cfg(test)]
mod tests;
