"""The client of the AWS blog post, as far as the other side can tell.

Arguments: KMS endpoint URL, key alias without "alias/", region, parent's URL.
Credentials come from the environment, where the original asks its instance for
a role's. Questions are lines of the standard input; the decrypted JSON text of
each answer goes to the standard output, and so does a reply's error.
"""

import base64
import json
import sys
import urllib.error
import urllib.request

import boto3

try:
    import requests
except ImportError:
    requests = None

TIMEOUT = 20  # seconds


def post(url, message):
    """Posts a message as JSON and returns the JSON of the reply."""
    if requests:
        return requests.post(url, json=message, timeout=TIMEOUT).json()
    request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as e:
        return json.load(e)


def ask(kms, alias, region, url, question):
    """Asks one question and returns the text to print."""
    sealed = kms.encrypt(KeyId="alias/" + alias, Plaintext=question.lower().encode())
    who = boto3.Session().get_credentials().get_frozen_credentials()
    reply = post(
        url,
        {
            "access_key_id": who.access_key,
            "secret_access_key": who.secret_key,
            "token": who.token,
            "region": region,
            "ciphertext": base64.b64encode(sealed["CiphertextBlob"]).decode(),
        },
    )
    if "EncryptedData" not in reply:
        return reply["error"]
    return kms.decrypt(CiphertextBlob=base64.b64decode(reply["EncryptedData"]))["Plaintext"].decode()


def main():
    endpoint, alias, region, url = sys.argv[1:]
    kms = boto3.client("kms", endpoint_url=endpoint, region_name=region)
    print("Chatbot: Hello! How can I assist you?")
    while True:
        try:
            question = input("Your Question: ")
        except EOFError:
            return
        print(ask(kms, alias, region, url, question))


main()
