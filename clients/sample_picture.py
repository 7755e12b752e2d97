"""Fetch a street picture to try the service on.

It is `bus.jpg`, an asset inside the wheel of the package `ultralytics` (AGPL-3.0). Only the picture
is taken out of the wheel; the package is not installed, and nothing of it is part of Farpose.

    python clients/sample_picture.py bus.jpg
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = Path(__file__).parent.parent / "requirements" / "sample.txt"
ASSET = "ultralytics/assets/bus.jpg"


def fetch(target: Path) -> None:
    """Write the picture to `target`; `RuntimeError` if the wheel cannot be downloaded."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
        command += ["--dest", folder, "--requirement", str(REQUIREMENT)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(folder).glob("ultralytics-*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(f"pip cannot download the sample picture: {done.stderr.strip()}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(ASSET))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fetch a street picture to try the service on.")
    parser.add_argument("target", type=Path)
    target = parser.parse_args().target
    if target.is_file():
        return
    try:
        fetch(target)
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
