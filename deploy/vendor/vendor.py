"""Bring the browser libraries into the tree, at pinned versions, from npm packages whose hashes are known.

    python deploy/vendor/vendor.py           fetch, verify, write ui/static/ui/vendor and icons.svg
    python deploy/vendor/vendor.py --check   fail if a file in the tree is not the package's own (no network)
    python deploy/vendor/vendor.py --pin     write the hashes of what npm gives now into packages.json

`packages.json` is the table; `npm pack` fetches, nothing of a package is ever run.
"""

import argparse
import hashlib
import json
import re
import subprocess  # noqa: TID251  (npm is the only client of its registry)
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TABLE = HERE / "packages.json"
STATIC = HERE.parent.parent / "ui" / "static" / "ui"
SHAPES = re.compile(r"<svg[^>]*>(?P<shapes>.*)</svg>", re.DOTALL)


class VendorError(RuntimeError):
    """A package or a file is not what the table says."""


def fetch(package: dict[str, Any], into: Path) -> Path:
    """Download one package's tarball with npm; its scripts are not run."""
    spec = f"{package['name']}@{package['version']}"
    command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(into), spec]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return into / done.stdout.strip().splitlines()[-1]


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """The bytes of one plain file in the tarball."""
    stream = archive.extractfile(f"package/{name}")
    if stream is None:
        raise VendorError(f"{name} is not a plain file of the package")
    return stream.read()


def symbol(name: str, svg: str) -> str:
    """One Lucide icon as a sprite symbol; the page's stylesheet gives it stroke and size."""
    found = SHAPES.search(svg)
    if found is None:
        raise VendorError(f"the icon {name} has an unexpected form")
    shapes = " ".join(found["shapes"].split())
    return f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>'


def sprite(archive: tarfile.TarFile, package: dict[str, Any]) -> bytes:
    """All the named icons in one file."""
    symbols = [
        symbol(name, member(archive, f"icons/{name}.svg").decode()) for name in sorted(package["icons"])
    ]
    note = f"<!-- Lucide {package['version']}, ISC licence: vendor/lucide/LICENSE -->"
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', note, *symbols, "</svg>", ""]).encode()


def unpack(package: dict[str, Any], tarball: Path) -> dict[Path, bytes]:
    """What one verified package puts into the tree."""
    if digest(tarball.read_bytes()) != package["sha256"]:
        raise VendorError(f"{package['name']} {package['version']} is not the package whose hash is pinned")
    with tarfile.open(tarball) as archive:
        folder = STATIC / "vendor" / package["into"]
        files = {folder / target: member(archive, source) for source, target in package["files"].items()}
        if "icons" in package:
            files[STATIC / "icons.svg"] = sprite(archive, package)
    return files


def describe(packages: list[dict[str, Any]], files: dict[Path, bytes]) -> str:
    """VENDOR.md: what is here, under which licence, with which hashes."""
    lines = [
        "# Vendored browser libraries",
        "",
        "Written by `deploy/vendor/vendor.py`; do not edit by hand.",
        "",
    ]
    lines += ["| package | version | licence | sha256 of the npm package |", "|---|---|---|---|"]
    lines += [f"| {p['name']} | {p['version']} | {p['license']} | `{p['sha256']}` |" for p in packages]
    lines += ["", "| file | sha256 |", "|---|---|"]
    lines += [f"| {path.relative_to(STATIC)} | `{digest(data)}` |" for path, data in sorted(files.items())]
    return "\n".join([*lines, ""])


def check() -> None:
    """Raise `VendorError` for a vendored file that VENDOR.md does not name, or that differs from it."""
    written = (STATIC / "vendor" / "VENDOR.md").read_text(encoding="utf-8")
    known = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", written, re.MULTILINE))
    present = [p for p in (STATIC / "vendor").rglob("*") if p.is_file() and p.name != "VENDOR.md"]
    for path in [*present, STATIC / "icons.svg"]:
        name = str(path.relative_to(STATIC))
        if known.pop(name, None) != digest(path.read_bytes()):
            raise VendorError(f"{name} is not the vendored file that VENDOR.md names")
    if known:
        raise VendorError(f"missing: {', '.join(known)}")


def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--pin", action="store_true")
    options = parser.parse_args(arguments)
    if options.check:
        check()
        return
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    files: dict[Path, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for package in table["packages"]:
            tarball = fetch(package, Path(folder))
            if options.pin:
                package["sha256"] = digest(tarball.read_bytes())
            files |= unpack(package, tarball)
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (STATIC / "vendor" / "VENDOR.md").write_text(describe(table["packages"], files), encoding="utf-8")
    if options.pin:
        TABLE.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
