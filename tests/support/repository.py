"""A project in a git repository of its own, beside the code that makes it: for DVC as for Snakemake."""

import os
import shutil
import sys
from pathlib import Path

import yaml

from support.project import REPOSITORY, Outcome, Project

#: What is needed to make everything.
PIPELINE = (
    "Snakefile",
    "workflow",
    "profiles",
    "src",
    "docs",
    ".dvc",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
)


class Repository(Project):
    """Commands there find the tools of this environment and the code of the repository."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "src"),
            "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "a" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "a@b" for who in ("AUTHOR", "COMMITTER")},
        }

    def begin(self) -> None:
        """Put the pipeline there and under version control."""
        for name in PIPELINE:
            source = REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("tmp", "cache", "__pycache__", "config.local")
                shutil.copytree(source, self.folder / name, ignore=ignored)
            else:
                shutil.copy(source, self.folder / name)
        self.git("init", "-q", "-b", "main")
        self.commit("What is to be made")

    def git(self, *arguments: str) -> str:
        outcome = self.call("git", *arguments)
        assert outcome.code == 0, outcome.output
        return outcome.output.strip()

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def dvc(self, *arguments: str, **environment: str) -> Outcome:
        return self.call("dvc", *arguments, **environment)

    def snakemake(self, *arguments: str) -> Outcome:
        return self.call("snakemake", "--cores", "2", *arguments)

    def change(self, run: str, **entries: object) -> None:
        """Parameters of one run of params.yaml; none removes the run."""
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        params["runs"][run] = {**params["runs"].get(run, {}), **entries}
        if not entries:
            del params["runs"][run]
        self.write(params)

    def agree(self) -> None:
        """Both tools say that everything is up to date, and that changes nothing."""
        before = self.bytes()
        status = self.dvc("status")
        assert "up to date" in status.output, status.output
        planned = self.snakemake("--dry-run")
        assert "Nothing to be done" in planned.output, planned.output
        assert "to be made again" not in planned.output, planned.output
        assert self.bytes() == before

    def bytes(self) -> dict[str, bytes]:
        """The content of all products."""
        return {name: content for name, (content, _) in self.contents().items()}

    def of(self, run: str) -> dict[str, bytes]:
        """The files of one run."""
        return {name: content for name, content in self.bytes().items() if f"/{run}/" in name}
