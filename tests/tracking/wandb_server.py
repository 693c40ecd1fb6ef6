"""A stand-in for W&B's server: as much of its GraphQL, file stream and file storage as wandb 0.31 asks for.

It keeps what it is sent, so that a test can compare it with metrics.jsonl, and it can be stopped, slow or broken.
"""

import base64
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["KEY", "Bucket", "Server"]

KEY = "0123456789abcdef" * 2 + "01234567"  # of the form of an API key
ENTITY = "team"


@dataclass
class Bucket:
    """A run as the server knows it."""

    name: str
    project: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)  # by offset
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    overwritten: int = 0  # lines of the history that came again

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history in its order."""
        return [self.history[offset] for offset in sorted(self.history)]


class Server:
    """Listen on a port of this machine from the start.

    Args:
        port: which one; 0 takes any that is free.

    Attributes:
        runs: by name.
        artifacts: "type/name" -> the versions that were committed: {"aliases", "metadata", "manifest", "digest"}.
        status: what is answered; 200 means that all is well.
        delay: seconds before an answer.
        asked: how often each operation was asked for.
    """

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[str, Bucket] = {}
        self.artifacts: dict[str, list[dict[str, Any]]] = {}
        self.stored: dict[str, bytes] = {}
        self.status, self.delay = 200, 0.0
        self.asked: Counter[str] = Counter()
        self._pending: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._http = _Listener(("127.0.0.1", self.port), type("Handler", (_Handler,), {"server_of": self}))
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and hang up on those that are open."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    @property
    def up(self) -> bool:
        return self._http is not None

    def answer(self, path: str, body: bytes) -> Any:
        """What W&B would say; None if there is nothing to say."""
        with self._lock:
            if path.startswith("/graphql"):
                query = json.loads(body)
                name = query.get("operationName") or re.findall(r"\w+", query["query"])[1]
                self.asked[name] += 1
                reply = getattr(self, f"_{name}", None)
                return {"data": reply(query.get("variables") or {}) if reply else {}}
            if path.endswith("/file_stream"):
                self.asked["file_stream"] += 1
                return self._stream(self.runs[path.split("/")[4]], json.loads(body))
            if path.startswith("/storage/"):
                self.asked["storage"] += 1
                self.stored[path] = body
                _, _, kind, name, file = path.split("/", 4)
                if kind == "run":
                    self.runs[name].files[file] = body
        return None

    def _stream(self, run: Bucket, said: dict[str, Any]) -> dict[str, Any]:
        for name, chunk in said.get("files", {}).items():
            lines = [json.loads(line) for line in chunk["content"]]
            if name == "wandb-history.jsonl":
                for offset, line in enumerate(lines, chunk["offset"]):
                    run.overwritten += offset in run.history
                    run.history[offset] = line
            elif name == "wandb-summary.json":
                run.summary = lines[-1]
        return {}

    def _Viewer(self, asked: dict[str, Any]) -> Any:
        return {"viewer": {"id": "1", "entity": ENTITY, "username": "me", "flags": "{}", "teams": {"edges": []}}}

    def _RunResumeStatus(self, asked: dict[str, Any]) -> Any:
        run = self.runs.get(asked["name"])
        bucket = None
        if run is not None:
            bucket = _described(run) | {
                "summaryMetrics": json.dumps(run.summary),
                "logLineCount": 0,
                "eventsLineCount": 0,
                "historyTail": json.dumps([json.dumps(line) for line in run.rows[-1:]]),
                "eventsTail": "[]",
                "tags": run.settings.get("tags"),
                "notes": None,
                "wandbConfig": '{"t": 1}',
            }
        return {"model": {"id": "p", "name": asked["project"], "entity": _ENTITY, "bucket": bucket}}

    def _UpsertBucket(self, asked: dict[str, Any]) -> Any:
        new = asked["name"] not in self.runs
        run = self.runs.setdefault(asked["name"], Bucket(asked["name"], asked["project"]))
        run.settings |= {key: value for key, value in asked.items() if value is not None and key != "config"}
        run.config |= json.loads(asked.get("config") or "{}")
        return {"upsertBucket": {"bucket": _described(run), "inserted": new}}

    def _ArtifactType(self, asked: dict[str, Any]) -> Any:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, asked: dict[str, Any]) -> Any:
        told = asked["input"]
        name = f"{told['artifactTypeName']}/{told['artifactCollectionName']}"
        versions = self.artifacts.setdefault(name, [])
        aliases = [entry["alias"] for entry in told["aliases"] or []]
        found = next((version for version in versions if version["digest"] == told["digest"]), None)
        if found is None:
            found = {"id": f"artifact-{len(self._pending)}", "digest": told["digest"], "metadata": told["metadata"]}
            found |= {"aliases": aliases, "collection": name, "state": "PENDING"}
            self._pending[found["id"]] = found
        else:
            found["aliases"] = aliases
        latest = {"latestArtifact": {"id": versions[-1]["id"]} if versions else None}
        artifact = {"id": found["id"], "state": found["state"], "artifactSequence": latest}
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, asked: dict[str, Any]) -> Any:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(asked["artifactID"])}}

    def _UpdateArtifactManifest(self, asked: dict[str, Any]) -> Any:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(asked["artifactManifestID"])}}

    def _manifest(self, artifact: str) -> dict[str, Any]:
        file = {"id": artifact, "uploadUrl": f"{self.url}/storage/artifact/{artifact}/manifest", "uploadHeaders": []}
        return {"id": artifact, "file": file}

    def _CreateArtifactFiles(self, asked: dict[str, Any]) -> Any:
        edges = []
        for spec in asked["input"]["artifactFiles"] if "input" in asked else asked["artifactFiles"]:
            place = f"{spec['artifactID']}/{spec['name']}"
            node = {"id": place, "name": spec["name"], "displayName": spec["name"], "storagePath": place}
            node |= {"uploadUrl": f"{self.url}/storage/artifact/{place}", "uploadHeaders": []}
            node |= {"uploadMultipartUrls": None, "artifact": {"id": spec["artifactID"]}}
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _ArtifactByID(self, asked: dict[str, Any]) -> Any:
        version = self._pending[asked["id"]]
        kind, name = version["collection"].split("/")
        project = {"id": _NODE, "internalId": _NODE, "name": "p", "entity": {"name": ENTITY}}
        known = {"id": _NODE, "versionIndex": 0, "artifactType": {"name": kind}, "description": None, "tags": []}
        known |= {"metadata": version["metadata"], "ttlDurationSeconds": -1, "ttlIsInherited": False, "fileCount": 1}
        known |= {"historyStep": None, "state": version["state"], "size": 1, "digest": version["digest"]}
        known |= {"commitHash": "c", "createdAt": "2026-01-01T00:00:00", "updatedAt": None, "aliases": []}
        return {"artifact": known | {"artifactSequence": {"name": name, "project": project}}}

    def _CommitArtifact(self, asked: dict[str, Any]) -> Any:
        version = self._pending[asked["artifactID"]]
        version |= {"state": "COMMITTED"}
        self.artifacts[version["collection"]].append(version)
        return {"commitArtifact": {"artifact": {"id": version["id"], "digest": version["digest"]}}}

    def _CreateRunFiles(self, asked: dict[str, Any]) -> Any:
        files = [{"name": f, "uploadUrl": f"{self.url}/storage/run/{asked['run']}/{f}"} for f in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}


_NODE = base64.b64encode(b"Artifact:1").decode()  # ids are read by the client
_ENTITY = {"id": "e", "name": ENTITY}


def _described(run: Bucket) -> dict[str, Any]:
    return {
        "id": f"id-{run.name}",
        "name": run.name,
        "displayName": run.settings.get("displayName") or run.name,
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": None,
        "project": {"id": "p", "name": run.project, "entity": _ENTITY},
        "historyLineCount": len(run.history),
    }


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client may hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server_of
        import os

        if os.environ.get("TRACE"):
            print(self.command, self.path, body[: int(os.environ["TRACE"])].decode(errors="replace"), flush=True)
        time.sleep(server.delay)
        if not server.up:  # a connection that was open when the server was stopped
            self.close_connection = True
            return
        answer = b"" if server.status != 200 else json.dumps(server.answer(self.path, body)).encode()
        self.send_response(server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_GET = do_POST
