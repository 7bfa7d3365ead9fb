"""A stand-in for the Hugging Face Hub on this machine: repositories, commits, large files, tags, downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request, Response

Files = dict[str, bytes]


@dataclass
class Repository:
    """Commits by hash, branches and tags by name."""

    commits: dict[str, Files] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> str | None:
        """Hash of a branch, tag or commit."""
        known = self.branches | self.tags
        return known.get(revision) or (revision if revision in self.commits else None)


def _missing(what: str) -> Response:
    return Response(what, 404, headers={"X-Error-Code": what, "X-Error-Message": what})


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def make_app() -> FastAPI:
    """The web application; everything lives in memory."""
    app = FastAPI()
    repositories: dict[tuple[str, str], Repository] = {}
    large: dict[str, bytes] = {}

    @app.get("/api/whoami-v2")
    def whoami() -> dict:
        return {"name": "tester", "type": "user", "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    @app.post("/api/validate-yaml")
    def validate() -> dict:
        return {"errors": [], "warnings": []}

    @app.post("/api/repos/create")
    async def create(request: Request) -> object:
        body = await request.json()
        kind = (body.get("type") or "model") + "s"
        name = "/".join(filter(None, [body.get("organization") or "tester", body["name"].split("/")[-1]]))
        url = f"{request.base_url}{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in repositories:
            return Response(json.dumps({"error": "exists", "url": url}), 409, media_type="application/json")
        repositories[kind, name] = Repository()
        return {"url": url, "name": name, "id": "1"}

    @app.get("/api/{kind}/{owner}/{name}/refs")
    def refs(kind: str, owner: str, name: str) -> dict:
        repository = repositories[kind, f"{owner}/{name}"]

        def listed(prefix: str, known: dict[str, str]) -> list[dict]:
            return [{"name": key, "ref": f"refs/{prefix}/{key}", "targetCommit": sha} for key, sha in known.items()]

        return {
            "branches": listed("heads", repository.branches),
            "tags": listed("tags", repository.tags),
            "converts": [],
        }

    @app.post("/api/{kind}/{owner}/{name}/tag/{revision}")
    async def tag(kind: str, owner: str, name: str, revision: str, request: Request) -> dict:
        repository = repositories[kind, f"{owner}/{name}"]
        sha = repository.at(revision)
        assert sha is not None
        repository.tags[(await request.json())["tag"]] = sha
        return {}

    @app.post("/api/{kind}/{owner}/{name}/preupload/{revision}")
    async def preupload(kind: str, owner: str, name: str, revision: str, request: Request) -> dict:
        files = (await request.json())["files"]
        mode = {True: "lfs", False: "regular"}
        return {
            "files": [
                {"path": f["path"], "uploadMode": mode[f["path"].endswith((".zip", ".parquet", ".safetensors"))],
                 "shouldIgnore": False}
                for f in files
            ]
        }  # fmt: skip

    @app.post("/{owner}/{name}.git/info/lfs/objects/batch")
    @app.post("/datasets/{owner}/{name}.git/info/lfs/objects/batch")
    async def batch(request: Request) -> Response:
        objects = []
        for item in (await request.json())["objects"]:
            upload = {"upload": {"href": f"{request.base_url}lfs/{item['oid']}", "header": {}}}
            objects.append({"oid": item["oid"], "size": item["size"], "actions": upload})
        content = json.dumps({"transfer": "basic", "objects": objects})
        return Response(content, media_type="application/vnd.git-lfs+json")

    @app.put("/lfs/{oid}")
    async def put(oid: str, request: Request) -> Response:
        large[oid] = await request.body()
        return Response(status_code=200)

    @app.post("/api/{kind}/{owner}/{name}/commit/{revision}")
    async def commit(kind: str, owner: str, name: str, revision: str, request: Request) -> dict:
        repository = repositories[kind, f"{owner}/{name}"]
        files = dict(repository.commits[repository.branches[revision]])
        for line in (await request.body()).decode().splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = large[item["value"]["oid"]]
        sha = hashlib.sha1(repr(sorted((p, _git_hash(b)) for p, b in files.items())).encode()).hexdigest()
        repository.commits[sha] = files
        repository.branches[revision] = sha
        return {"commitUrl": f"{request.base_url}{owner}/{name}/commit/{sha}", "commitOid": sha}

    @app.get("/api/{kind}/{owner}/{name}/revision/{revision:path}")
    def info(kind: str, owner: str, name: str, revision: str) -> object:
        repository = repositories.get((kind, f"{owner}/{name}"))
        if repository is None:
            return _missing("RepoNotFound")
        sha = repository.at(revision)
        if sha is None:
            return _missing("RevisionNotFound")
        siblings = [{"rfilename": path, "size": len(content)} for path, content in repository.commits[sha].items()]
        return {"id": f"{owner}/{name}", "sha": sha, "private": False, "tags": [], "siblings": siblings}

    @app.get("/api/{kind}/{owner}/{name}/tree/{revision}")
    def tree(kind: str, owner: str, name: str, revision: str) -> object:
        repository = repositories[kind, f"{owner}/{name}"]
        sha = repository.at(revision)
        assert sha is not None
        files = repository.commits[sha].items()
        return [{"type": "file", "path": p, "size": len(b), "oid": _git_hash(b)} for p, b in sorted(files)]

    @app.api_route("/datasets/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def dataset_file(owner: str, name: str, revision: str, path: str, request: Request) -> Response:
        return served("datasets", f"{owner}/{name}", revision, path, request)

    @app.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    def model_file(owner: str, name: str, revision: str, path: str, request: Request) -> Response:
        return served("models", f"{owner}/{name}", revision, path, request)

    def served(kind: str, name: str, revision: str, path: str, request: Request) -> Response:
        repository = repositories.get((kind, name))
        sha = repository.at(revision) if repository else None
        content = repository.commits[sha].get(path) if repository and sha else None
        if content is None or sha is None:
            return _missing("EntryNotFound")
        headers = {"ETag": f'"{_git_hash(content)}"', "X-Repo-Commit": sha, "Content-Length": str(len(content))}
        return Response(b"" if request.method == "HEAD" else content, headers=headers)

    return app


@contextmanager
def running_hub() -> Iterator[str]:
    """The address of a stand-in that runs in a thread."""
    server = uvicorn.Server(uvicorn.Config(make_app(), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
