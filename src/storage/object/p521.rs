//! Signatures by P-521 keys, which ring does not know.

use std::sync::LazyLock;

use ::p521::ecdsa::signature::hazmat::PrehashVerifier;
use ::p521::ecdsa::{Signature, VerifyingKey};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// ECDSA over a hash, by a P-521 key.
#[derive(Debug)]
struct P521 {
    hash: fn(&[u8]) -> Vec<u8>,
    id: AlgorithmIdentifier,
}

const BY_SHA256: &dyn SignatureVerificationAlgorithm = &P521 {
    hash: |message| Sha256::digest(message).to_vec(),
    id: alg_id::ECDSA_SHA256,
};
const BY_SHA384: &dyn SignatureVerificationAlgorithm = &P521 {
    hash: |message| Sha384::digest(message).to_vec(),
    id: alg_id::ECDSA_SHA384,
};
const BY_SHA512: &dyn SignatureVerificationAlgorithm = &P521 {
    hash: |message| Sha512::digest(message).to_vec(),
    id: alg_id::ECDSA_SHA512,
};

impl SignatureVerificationAlgorithm for P521 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify_prehash(&(self.hash)(message), &signature)
            .map_err(|_| InvalidSignature)
    }
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

/// What ring verifies, and P-521: in certificates over each hash, in handshakes over SHA-512, as TLS 1.3 has it.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    // rustls takes them for as long as the process lives.
    static ALL: LazyLock<WebPkiSupportedAlgorithms> = LazyLock::new(|| {
        let ring = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let all = [ring.all, &[BY_SHA256, BY_SHA384, BY_SHA512]].concat();
        let handshakes: (_, &[_]) = (SignatureScheme::ECDSA_NISTP521_SHA512, &[BY_SHA512]);
        WebPkiSupportedAlgorithms {
            all: all.leak(),
            mapping: [ring.mapping, &[handshakes]].concat().leak(),
        }
    });
    *ALL
}
