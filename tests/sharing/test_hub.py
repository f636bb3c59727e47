"""Pushing a model to the Hugging Face Hub and loading it from there: by its own client, to a Hub of ours."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from mmjsd.training.model_file import NAME
from sharing.test_export import record, save

COMMIT = "0" * 40
PUSH = """
from mmjsd.sharing.hub import SharedVAE

SharedVAE.of_run("run").push_to_hub("you/digits")
SharedVAE.from_pretrained("you/digits").save_pretrained("again")
"""


class Hub(ThreadingHTTPServer):
    """As much of the Hub as a push of small files and their download ask for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()


class Requests(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers["Authorization"])
        address = self.path.partition("?")[0]
        if address == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/you/digits"})
        elif address == "/api/validate-yaml":
            yaml.safe_load(json.loads(content)["content"].split("---")[1])
            self.answer({"errors": [], "warnings": []})
        elif address == "/api/models/you/digits/preupload/main":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            self.answer({"files": files})
        elif address == "/api/models/you/digits/commit/main":
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": "/you/digits", "commitOid": COMMIT, "success": True})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        content = self.server.files.get(self.path.partition("/resolve/main/")[2])
        if content is None:
            self.send_error(404)
        else:
            self.answer(content)

    do_HEAD = do_GET

    def answer(self, content: object) -> None:
        found = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(found)))
        self.send_header("ETag", hashlib.sha256(found).hexdigest())
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_model_is_pushed_to_the_hub_and_loaded_from_there(tmp_path: Path, hub: Hub):
    (tmp_path / "run").mkdir()
    record(save(tmp_path / "run"))
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "yours",
        "HF_HUB_OFFLINE": "0",
        "no_proxy": "127.0.0.1",
    }
    pushed = subprocess.run(
        [sys.executable, "-c", PUSH],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert pushed.returncode == 0, pushed.stderr
    assert hub.tokens == {"Bearer yours"}
    assert set(hub.files) >= {NAME, "config.json", "README.md"}
    assert hub.files[NAME] == (tmp_path / "run" / NAME).read_bytes()
    assert "| random coherence | 0.25 |" in hub.files["README.md"].decode()
    for name in (NAME, "config.json", "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == hub.files[name]
