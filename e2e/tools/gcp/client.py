"""Google's own client of Secret Manager, told what to do by a list of steps as JSON on standard input."""

import base64
import json
import sys

import google.auth.transport.requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.auth import identity_pool
from google.cloud import secretmanager_v1
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials

task = json.load(sys.stdin)
if "token" in task:
    credentials = Credentials(task["token"])
else:
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    kinds = {
        "service_account": service_account.Credentials.from_service_account_info,
        "external_account": identity_pool.Credentials.from_info,
    }
    credentials = kinds[task["credentials"]["type"]](task["credentials"], scopes=scopes)
    # Left to itself, the client would sign a token for the service alone and ask nobody.
    credentials.refresh(google.auth.transport.requests.Request())
    credentials = Credentials(credentials.token)
client = secretmanager_v1.SecretManagerServiceClient(
    credentials=credentials,
    transport="rest",
    client_options=ClientOptions(api_endpoint=task["endpoint"]),
)
project = "projects/" + task["project"]


def version_name(step):
    return f"{project}/secrets/{step['id']}/versions/{step.get('version', 'latest')}"


def number(version):
    return version.name.rsplit("/", 1)[1]


def run(step):
    what, secret = step["do"], f"{project}/secrets/{step.get('id', '')}"
    if what == "create":
        made = client.create_secret(
            parent=project, secret_id=step["id"], secret={"replication": {"automatic": {}}}
        )
        return made.name.rsplit("/", 1)[1]
    if what == "add":
        data = base64.b64decode(step["data"])
        return number(client.add_secret_version(parent=secret, payload={"data": data}))
    if what == "access":
        found = client.access_secret_version(name=version_name(step))
        return {
            "version": number(found),
            "data": base64.b64encode(found.payload.data).decode(),
            "crc32c": found.payload.data_crc32c,
        }
    if what == "list":
        found = client.list_secrets(request={"parent": project, "filter": step.get("filter", ""), "page_size": 2})
        return sorted(found_secret.name.rsplit("/", 1)[1] for found_secret in found)
    if what == "versions":
        found = client.list_secret_versions(request={"parent": secret, "page_size": 2})
        return [[number(version), version.state.name] for version in found]
    if what == "replication":
        return type(client.get_secret(name=secret)).to_dict(client.get_secret(name=secret))["replication"]
    if what == "disable":
        return client.disable_secret_version(name=version_name(step)).state.name
    if what == "destroy":
        return client.destroy_secret_version(name=version_name(step)).state.name
    if what == "delete":
        client.delete_secret(request={"name": secret, "etag": step.get("etag", "")})
        return None
    raise ValueError(what)


results = []
for step in task["steps"]:
    try:
        results.append({"ok": run(step)})
    except GoogleAPICallError as error:
        results.append({"error": type(error).__name__})
json.dump(results, sys.stdout)
