"""Does with Microsoft's own client of Key Vault what the lines on standard input say, one JSON answer a line.

The first line names the vault, a token for it and the certificate authority; every other line is a step. Values come and
go by the pipes alone.
"""

import json
import sys
import time

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient


class Static:
    """A token that somebody else asked for."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **_):
        if scopes != ("https://vault.azure.net/.default",):
            raise RuntimeError(f"asked for {scopes}")
        return AccessToken(self.token, int(time.time()) + 3600)


def described(properties):
    return {"name": properties.name, "version": properties.version, "enabled": properties.enabled}


def do(client, step):
    what, name = step["do"], step.get("name")
    if what == "set":
        return described(client.set_secret(name, step["value"]).properties)
    if what == "get":
        return {"value": client.get_secret(name, step.get("version")).value}
    if what == "list":
        return sorted(item.name for item in client.list_properties_of_secrets())
    if what == "versions":
        found = sorted(client.list_properties_of_secret_versions(name), key=lambda item: item.created_on)
        return [item.version for item in found]
    if what == "enable":
        return described(client.update_secret_properties(name, step["version"], enabled=step["enabled"]))
    if what == "delete":
        return {"recovery": client.begin_delete_secret(name).result().recovery_id is not None}
    if what == "recover":
        return {"name": client.begin_recover_deleted_secret(name).result().name}
    if what == "purge":
        client.purge_deleted_secret(name)
        return {}
    raise RuntimeError(f"no such step: {what}")


def main():
    place = json.loads(sys.stdin.readline())
    client = SecretClient(
        place["url"],
        Static(place["token"]),
        # The vault is on loopback; its challenge is for vault.azure.net.
        verify_challenge_resource=False,
        connection_verify=place["authority"],
        retry_total=0,
    )
    for line in sys.stdin:
        try:
            answer = {"ok": do(client, json.loads(line))}
        except HttpResponseError as error:
            answer = {"status": error.status_code, "code": error.error.code if error.error else None}
        print(json.dumps(answer), flush=True)


main()
