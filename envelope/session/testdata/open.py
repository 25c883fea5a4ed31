"""Opens the X25519 exchanges of vectors.json: HPKE (RFC 9180) in base mode, and
the answers of FORMAT.md. It shares no code with the package, and prints the
name of each exchange that it opened."""
import hashlib
import hmac
import json
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEM, KDF, AEAD = b"\x00\x20", b"\x00\x01", b"\x00\x02"


def extract(salt, key):
    return hmac.digest(salt or bytes(32), key, "sha256")


def expand(prk, info, length):
    out, block, i = b"", b"", 0
    while len(out) < length:
        i += 1
        block = hmac.digest(prk, block + info + bytes([i]), "sha256")
        out += block
    return out[:length]


def labeled_extract(suite, salt, label, key):
    return extract(salt, b"HPKE-v1" + suite + label + key)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def hpke_open(private, enc, info, associated, ciphertext):
    """Returns the plaintext and the exporter secret."""
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    dh = private.exchange(X25519PublicKey.from_public_bytes(enc))
    suite = b"KEM" + KEM
    eae = labeled_extract(suite, b"", b"eae_prk", dh)
    shared = labeled_expand(suite, eae, b"shared_secret", enc + public, 32)
    suite = b"HPKE" + KEM + KDF + AEAD
    context = b"\x00" + labeled_extract(suite, b"", b"psk_id_hash", b"") + labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    exporter = labeled_expand(suite, secret, b"exp", context, 32)
    return AESGCM(key).decrypt(nonce, ciphertext, associated), exporter


def check(v):
    raw = {k: bytes.fromhex(v[k]) for k in ("private_key", "config", "payload", "request", "exported")}
    request, digest = raw["request"], hashlib.sha384(b"nitroseal/session/v1/config\0" + raw["config"]).digest()
    assert request[:4] == b"NSQ1" and request[4:12] == digest[:8]
    n = int.from_bytes(request[36:38], "big")
    enc, associated, ciphertext = request[38:38 + n], request[:38 + n], request[38 + n:]
    private = X25519PrivateKey.from_private_bytes(raw["private_key"])
    info = b"nitroseal/session/v1/request\0" + digest
    plaintext, exporter = hpke_open(private, enc, info, associated, ciphertext)
    size = int.from_bytes(plaintext[:4], "big")
    assert plaintext[4:4 + size] == raw["payload"] and not any(plaintext[4 + size:])

    exported = labeled_expand(b"HPKE" + KEM + KDF + AEAD, exporter, b"sec", b"nitroseal/session/v1/response", 32)
    assert exported == raw["exported"]
    first = bytes.fromhex(v["segments"][0]["segment"])
    assert first[:4] == b"NSR1"
    salt = first[4:36] + hashlib.sha384(b"nitroseal/session/v1/request\0" + request).digest()
    prk = extract(salt, exported)
    key, base = expand(prk, b"key", 32), expand(prk, b"nonce", 12)
    for i, s in enumerate(v["segments"]):
        segment = bytes.fromhex(s["segment"])[36 if i == 0 else 0:]
        head = bytes([s["last"]]) + i.to_bytes(4, "big")
        assert segment[:5] == head
        nonce = bytes(a ^ b for a, b in zip(base, bytes(7) + head))
        inner = AESGCM(key).decrypt(nonce, segment[5:], head)
        content = bytes.fromhex(s["content"])
        assert inner == bytes([s["kind"]]) + len(content).to_bytes(4, "big") + content + bytes(len(inner) - 5 - len(content))


with open(sys.argv[1]) as f:
    for vector in json.load(f)["exchanges"]:
        if vector["kem"] == 0x20:
            check(vector)
            print(vector["name"])
