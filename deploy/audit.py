"""What the locks bring in: known vulnerabilities, licences, and a bill of materials of each.

    python deploy/audit.py --tools .venv-audit/bin

Exit code 1: something was found. 2: something could not be asked or looked at, so that nothing can
be said of it; that is no pass. Bills of materials (CycloneDX, JSON) go to dist/sbom.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Locks that people install. Those of tests and of this audit itself never reach a service.
LOCKS = ("cpu", "gpu", "frontend", "worker-cpu", "worker-gpu", "eval")
#: Those that are asked about for holes: the others have parts of these, of the same versions.
WHOLE = ("cpu", "gpu")
#: Seconds for all questions about one lock.
TIMEOUT_S = 900

#: Licences that may be in a service that somebody passes on, as SPDX and as people write them.
ALLOWED = frozenset(
    (
        "0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc0-1.0", "isc", "mit",
        "mit-0", "mit-cmu", "mpl-2.0", "psf-2.0", "python-2.0", "unlicense", "zlib",
    )
)  # fmt: skip
#: Other ways to write those. `BSD` is a family of which all that are in use are allowed.
SPELLINGS = {
    "apache 2.0": "apache-2.0",
    "apache license 2.0": "apache-2.0",
    "apache software license": "apache-2.0",
    "bsd": "bsd-3-clause",
    "bsd license": "bsd-3-clause",
    "3-clause bsd license": "bsd-3-clause",
    "freebsd": "bsd-2-clause",
    "isc license": "isc",
    "isc license (iscl)": "isc",
    "mit license": "mit",
    "mozilla public license 2.0 (mpl 2.0)": "mpl-2.0",
    "python software foundation license": "psf-2.0",
}
#: Packages under other terms, by the beginning of their names, and why they may be there.
EXCEPTIONS = {
    "nvidia-": "CUDA's libraries under NVIDIA's terms: the extra `gpu` fetches them, and nothing "
    "of ours contains them",
}


@dataclass
class Findings:
    """What was found, and of what nothing can be said."""

    found: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return 1 if self.found else 2 if self.unknown else 0


def names(lock: Path) -> list[tuple[str, str]]:
    """Name and version of each package that a lock names."""
    text = lock.read_text(encoding="utf-8")
    return sorted(set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE)))


def vulnerabilities(lock: Path, pip_audit: Iterable[str]) -> Findings:
    """Ask pip-audit about a lock. What it could not ask is unknown, not clean."""
    command = [
        *pip_audit, "--requirement", str(lock), "--require-hashes", "--disable-pip", "--strict",
        "--format", "json", "--progress-spinner", "off", "--desc", "off",
    ]  # fmt: skip
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        answers = json.loads(said.stdout)["dependencies"]
    except FileNotFoundError:
        return Findings(unknown=[f"{command[0]} is not there; `make audit` installs it"])
    except subprocess.TimeoutExpired:
        return Findings(unknown=[f"{lock.name}: no answer within {TIMEOUT_S} s"])
    except (ValueError, KeyError):
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Findings(unknown=[f"{lock.name}: could not be asked about: {last[:300]}"])
    findings = Findings()
    asked = set()
    for each in answers:
        name = normal(each["name"])
        if "skip_reason" in each:
            findings.unknown.append(f"{lock.name}: {each['skip_reason']}")
            continue
        asked.add(name)
        for hole in each["vulns"]:
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            findings.found.append(
                f"{lock.name}: {name} {each['version']}: {hole['id']}, mended by {fixed}"
            )
    # pip-audit leaves out what is for other machines; a lock is for all that it names.
    named = {normal(name) for name, _ in names(lock)}
    if not asked & named:
        findings.unknown.append(f"{lock.name}: no package of it was asked about")
    return findings


def licences(packages: Iterable[str]) -> Findings:
    """Look into what is installed here. Raises nothing: what is not installed is not looked at."""
    findings = Findings()
    for name in packages:
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if any(name.startswith(start) for start in EXCEPTIONS):
            continue
        said = list(_said(metadata))
        if not said:
            findings.unknown.append(f"{name}: its metadata name no licence")
        elif not any(allowed(licence) for licence in said):
            findings.found.append(f"{name}: {' / '.join(said)} is not among those allowed")
    return findings


def _said(metadata: importlib.metadata.PackageMetadata) -> Iterator[str]:
    """A package's licence by its expression; else by its classifiers; else by its text."""
    if expression := metadata.get("License-Expression"):
        yield expression
        return
    classifiers = metadata.get_all("Classifier") or []
    found = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    # Several are alternatives or parts, which is not said: all must do.
    if found:
        yield " AND ".join(f"({each})" if " " not in each else each for each in found)
    elif text := (metadata.get("License") or "").strip():
        yield text.splitlines()[0]


def allowed(expression: str) -> bool:
    """Whether one of the alternatives has only licences that are allowed."""
    return any(
        all(_known(part) in ALLOWED for part in alternative.split(" AND "))
        for alternative in _alternatives(expression)
    )


def _alternatives(expression: str) -> Iterator[str]:
    """An expression without its OR, which in practice stands alone or within parentheses."""
    if found := re.search(r"\(([^()]*) OR ([^()]*)\)", expression):
        for choice in found.groups():
            yield from _alternatives(expression.replace(found[0], choice, 1))
    elif " AND " not in expression and " OR " in expression:
        yield from expression.split(" OR ")
    else:
        yield expression


def _known(licence: str) -> str:
    plain = licence.strip().lower()
    plain = SPELLINGS.get(plain, plain)
    return SPELLINGS.get(plain.strip("()"), plain.strip("()")) if plain not in ALLOWED else plain


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(lock: Path, target: Path, cyclonedx: Path) -> Findings:
    """Write the bill of materials of a lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(cyclonedx), "requirements", str(lock), "--output-format", "JSON",
        "--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"),
        "--output-file", str(target),
    ]  # fmt: skip
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return Findings(unknown=[f"{cyclonedx} is not there; `make audit` installs it"])
    if said.returncode != 0:
        return Findings(unknown=[f"{lock.name}: no bill of materials: {said.stderr[-300:]}"])
    parts = json.loads(target.read_text(encoding="utf-8")).get("components", [])
    missing = {normal(name) for name, _ in names(lock)} - {normal(each["name"]) for each in parts}
    if missing:
        return Findings(unknown=[f"{target.name} lacks {', '.join(sorted(missing))}"])
    return Findings()


def main() -> int:
    """Look at everything, say what was found, and what could not be looked at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tools", type=Path, required=True, help="bin folder of the audit's tools")
    parser.add_argument("--service", default="pypi", choices=("pypi", "osv"))
    options = parser.parse_args()
    everything = Findings()
    pip_audit = [str(options.tools / "pip-audit"), "--vulnerability-service", options.service]
    cyclonedx = options.tools / "cyclonedx-py"
    for part in LOCKS:
        lock = ROOT / "requirements" / f"{part}.txt"
        target = ROOT / "dist" / "sbom" / f"{part}.cdx.json"
        _say(f"{lock.name}: bill of materials", bill(lock, target, cyclonedx), everything)
        if part in WHOLE:
            found = vulnerabilities(lock, pip_audit)
            _say(f"{lock.name}: known vulnerabilities", found, everything)
    packages = sorted({name for part in LOCKS
                       for name, _ in names(ROOT / "requirements" / f"{part}.txt")})  # fmt: skip
    here = [name for name in packages if _installed(name)]
    _say(f"licences of {len(here)} packages installed here, of {len(packages)} in the locks",
         licences(here), everything)  # fmt: skip
    if everything.exit_code == 2:
        print("nothing was found, but not everything could be asked: this is no pass")
    return everything.exit_code


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _say(what: str, findings: Findings, everything: Findings) -> None:
    state = "found" if findings.found else "NOT KNOWN" if findings.unknown else "ok"
    print(f"{what}: {state}", flush=True)
    for line in findings.found + findings.unknown:
        print(f"  {line}", flush=True)
    everything.found += findings.found
    everything.unknown += findings.unknown


if __name__ == "__main__":
    sys.exit(main())
