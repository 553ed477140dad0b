"""Write `.ci/hashes.txt`: the hash of every file that CI installs on its platform.

    .venv/bin/python .ci/lock.py    # after constraints.txt has changed

pip resolves the development environment with constraints.txt and reports the hash of each file it
would install; nothing is installed. torch has no hash: its CPU and CUDA builds share a version but
have different hashes, and the package index decides which one a machine gets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WITHOUT_HASH = {"scorecam", "torch"}
HEADER = "# Written by .ci/lock.py from constraints.txt: the files that CI installs.\n"


def main() -> None:
    """Resolve the environment and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        resolve = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        resolve += ["--ignore-installed", "--report", str(report), "-c", "constraints.txt"]
        subprocess.run([*resolve, "--group", "dev", ".[all]", "pip"], cwd=ROOT, check=True)
        resolved: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
    lines = [
        f"{package['metadata']['name']}=={package['metadata']['version']} "
        f"--hash=sha256:{package['download_info']['archive_info']['hashes']['sha256']}\n"
        for package in sorted(resolved, key=lambda package: package["metadata"]["name"].lower())
        if package["metadata"]["name"].lower() not in WITHOUT_HASH
    ]
    (ROOT / ".ci" / "hashes.txt").write_text(HEADER + "".join(lines), "utf-8")


if __name__ == "__main__":
    main()
