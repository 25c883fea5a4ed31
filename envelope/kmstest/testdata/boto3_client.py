"""Calls every operation that a client of a local KMS needs, with boto3.

Arguments: endpoint URL, key for agreement, file with an attestation document,
file to write CiphertextForRecipient to. Credentials and region come from the
environment. Exits with an error if an answer is not as AWS documents it.
"""

import sys

import boto3
from botocore.config import Config

endpoint, curve, document, reply = sys.argv[1:]
kms = boto3.client("kms", endpoint_url=endpoint, config=Config(retries={"max_attempts": 0}))


def fails(code, do, **arguments):
    """The call must fail with the error that boto3 makes of a code."""
    try:
        do(**arguments)
    except kms.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        # Those that the API's model names have a class of their own.
        assert type(e).__name__ in (code, "ClientError"), type(e)
        return
    raise AssertionError(code + " was expected")


def knows(operation, member):
    """Whether this version of boto3 knows a member of an operation's input."""
    model = kms.meta.service_model
    if operation not in model.operation_names or member not in model.operation_model(operation).input_shape.members:
        print("boto3", boto3.__version__, "does not know", member, "of", operation)
        return False
    return True


metadata = kms.create_key()["KeyMetadata"]
key, arn = metadata["KeyId"], metadata["Arn"]
assert metadata["KeySpec"] == "SYMMETRIC_DEFAULT" and metadata["Enabled"], metadata
assert metadata["CreationDate"].year >= 2024, metadata
kms.create_alias(AliasName="alias/boto3", TargetKeyId=key)
assert kms.describe_key(KeyId="alias/boto3")["KeyMetadata"]["Arn"] == arn
assert arn in [k["KeyArn"] for p in kms.get_paginator("list_keys").paginate(Limit=1) for k in p["Keys"]]
assert "alias/boto3" in [a["AliasName"] for a in kms.list_aliases(KeyId=key)["Aliases"]]

context = {"direction": "request", "ünï": "çødé"}
sealed = kms.encrypt(KeyId="alias/boto3", Plaintext=b"\x00secret\xff", EncryptionContext=context)
assert sealed["KeyId"] == arn and sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT", sealed
blob = sealed["CiphertextBlob"]
opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
assert opened["Plaintext"] == b"\x00secret\xff" and opened["KeyId"] == arn, opened
assert "CiphertextForRecipient" not in opened, opened
fails("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob)
fails("NotFoundException", kms.describe_key, KeyId="alias/none")
if knows("Encrypt", "DryRun"):
    fails("DryRunOperationException", kms.encrypt, KeyId=key, Plaintext=b"x", DryRun=True)
fails("ValidationException", kms.encrypt, KeyId=key, Plaintext=b"x" * 4097)
fails("AlreadyExistsException", kms.create_alias, AliasName="alias/boto3", TargetKeyId=key)
fails("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key, PolicyName="default", Policy="{}")

other = kms.create_key()["KeyMetadata"]["Arn"]
fails("IncorrectKeyException", kms.decrypt, CiphertextBlob=blob, EncryptionContext=context, KeyId=other)
moved = kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=other)
assert moved["SourceKeyId"] == arn and moved["KeyId"] == other, moved
assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"\x00secret\xff"

data = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
bare = kms.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=24)
assert "Plaintext" not in bare and len(kms.decrypt(CiphertextBlob=bare["CiphertextBlob"])["Plaintext"]) == 24
pair = kms.generate_data_key_pair(KeyId=key, KeyPairSpec="ECC_NIST_P256")
assert kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"])["Plaintext"] == pair["PrivateKeyPlaintext"]
bare = kms.generate_data_key_pair_without_plaintext(KeyId=key, KeyPairSpec="ECC_NIST_P256")
assert "PrivateKeyPlaintext" not in bare and bare["PublicKey"], bare
assert len(kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024
public = kms.get_public_key(KeyId=curve)
assert public["KeyUsage"] == "KEY_AGREEMENT" and public["PublicKey"], public
if knows("DeriveSharedSecret", "PublicKey"):
    shared = kms.derive_shared_secret(KeyId=curve, KeyAgreementAlgorithm="ECDH", PublicKey=public["PublicKey"])
    assert len(shared["SharedSecret"]) == 32, shared
policy = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)

if knows("Decrypt", "Recipient"):
    with open(document, "rb") as f:
        recipient = {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": f.read()}
    attested = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context, Recipient=recipient)
    assert "Plaintext" not in attested, attested
    with open(reply, "wb") as f:
        f.write(attested["CiphertextForRecipient"])
    recipient["AttestationDocument"] = recipient["AttestationDocument"][:-1] + b"\x00"
    fails("ValidationException", kms.decrypt, CiphertextBlob=blob, EncryptionContext=context, Recipient=recipient)
