//! Signatures behind a seam: real BLS12-381, and a cheap twin for simulation sweeps.
//!
//! Owns the two traits that consensus needs: [`Scheme`] to verify and aggregate, [`Signer`] to sign. Refuses to
//! hide a failure: a scheme says no, a signer says why. The twin is a keyed hash whose "secret" can be computed
//! from the public key: it keeps protocol tests honest about *who signed what* and costs a microsecond, but it
//! protects nobody. Only tests and simulators construct it.

use metanode_types::bls::{BlsError, BlsPublic, BlsSecret, BlsSignature};
use metanode_types::certificate::{Certificate, CertificateError};
use metanode_types::hash::sha256;
use metanode_types::ids::ChainId;
use metanode_types::validator::ValidatorSet;

/// Verifies and aggregates.
pub trait Scheme: Send + Sync {
    /// Checks one signature.
    fn verify(&self, key: &BlsPublic, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError>;
    /// Aggregates signatures of one message, given in the order of their keys in the set.
    fn aggregate(&self, signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError>;
    /// Checks an aggregate against the keys, in the order of the set.
    fn verify_aggregate(
        &self,
        keys: &[BlsPublic],
        message: &[u8],
        signature: &BlsSignature,
    ) -> Result<(), BlsError>;
}

/// Signs 32-byte preimages with one key.
pub trait Signer: Send {
    /// The key.
    fn public(&self) -> BlsPublic;
    /// Signs, or says why not.
    fn sign(&self, message: &[u8]) -> Result<BlsSignature, &'static str>;
}

/// BLS12-381 as `metanode-types` does it.
#[derive(Clone, Copy, Debug)]
pub struct Bls;

impl Scheme for Bls {
    fn verify(&self, key: &BlsPublic, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
        key.verify(message, signature)
    }
    fn aggregate(&self, signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
        BlsSignature::aggregate(signatures)
    }
    fn verify_aggregate(
        &self,
        keys: &[BlsPublic],
        message: &[u8],
        signature: &BlsSignature,
    ) -> Result<(), BlsError> {
        signature.verify_aggregate(keys, message)
    }
}

impl Signer for BlsSecret {
    fn public(&self) -> BlsPublic {
        BlsSecret::public(self)
    }
    fn sign(&self, message: &[u8]) -> Result<BlsSignature, &'static str> {
        Ok(BlsSecret::sign(self, message))
    }
}

/// The twin scheme of simulations. INSECURE: anyone can sign for anyone.
#[derive(Clone, Copy, Debug)]
pub struct InsecureTwin;

/// A key of the twin scheme.
#[derive(Clone, Copy, Debug)]
pub struct InsecureTwinKey(pub BlsPublic);

impl InsecureTwinKey {
    /// The `n`-th key.
    pub fn numbered(n: u32) -> Self {
        let mut key = [0xee; 48];
        key[..4].copy_from_slice(&n.to_be_bytes());
        InsecureTwinKey(BlsPublic(key))
    }
}

fn twin_sign(key: &BlsPublic, message: &[u8]) -> BlsSignature {
    let mut bytes = Vec::with_capacity(48 + message.len());
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(message);
    let mut out = [0u8; 96];
    out[..32].copy_from_slice(&sha256(&bytes));
    BlsSignature(out)
}

impl Signer for InsecureTwinKey {
    fn public(&self) -> BlsPublic {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Result<BlsSignature, &'static str> {
        Ok(twin_sign(&self.0, message))
    }
}

impl Scheme for InsecureTwin {
    fn verify(&self, key: &BlsPublic, message: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
        if twin_sign(key, message) == *signature { Ok(()) } else { Err(BlsError::Signature) }
    }
    fn aggregate(&self, signatures: &[BlsSignature]) -> Result<BlsSignature, BlsError> {
        if signatures.is_empty() {
            return Err(BlsError::Empty);
        }
        let all: Vec<u8> = signatures.iter().flat_map(|s| s.0).collect();
        let mut out = [1u8; 96];
        out[..32].copy_from_slice(&sha256(&all));
        Ok(BlsSignature(out))
    }
    fn verify_aggregate(
        &self,
        keys: &[BlsPublic],
        message: &[u8],
        signature: &BlsSignature,
    ) -> Result<(), BlsError> {
        let each: Vec<_> = keys.iter().map(|k| twin_sign(k, message)).collect();
        if self.aggregate(&each)? == *signature { Ok(()) } else { Err(BlsError::Signature) }
    }
}

/// [`Certificate::verify`] under any scheme: quorum first, then the aggregate.
pub fn verify_certificate(
    scheme: &dyn Scheme,
    chain: &ChainId,
    set: &ValidatorSet,
    certificate: &Certificate,
) -> Result<u64, CertificateError> {
    let power = certificate.power(set)?;
    if !set.is_quorum(power) {
        return Err(CertificateError::NoQuorum { power, total: set.total_power() });
    }
    let keys: Vec<BlsPublic> = certificate.signers.iter().map(|i| set.members()[i].bls).collect();
    scheme.verify_aggregate(&keys, &certificate.vote().signed_bytes(chain), &certificate.signature)?;
    Ok(power)
}
