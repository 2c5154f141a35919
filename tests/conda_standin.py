"""A stand-in for the `conda` command, for machines that have none: what `snakemake --sdm conda` calls, and no more.

Environments are Python's own virtual environments; the packages that an env file lists below `pip:` come from the
package registry (`install`), or are those of the Python that runs this (`share`, for tests without a network).
No solve of conda's packages is made: `python=3.11` must be the Python at hand, a compiler the machine's own.
"""

import json
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import yaml

ACTIVATE = 'export CONDA_PREFIX="$1"\nexport PATH="$1/bin:$PATH"\n'
# Run by every Python of the environment as it starts; says afterwards that one has run.
MARK = "import sys; open(sys.prefix + '/used', 'a').close()\n"


def write(folder, *, mode, constraints=None, uv=None, leave_out=()):
    """Write `bin/conda` and `bin/activate` below a folder; put its `bin` on the PATH.

    Args:
        mode: "install" or "share".
        constraints: file of versions for packages that env files do not list, with "install".
        uv: path of `uv`, which installs in a fraction of pip's time; None: pip.
        leave_out: starts of lines below `pip:` that are left out, such as an index that cannot be reached.
    """
    tools = folder / "bin"
    tools.mkdir(parents=True)
    facts = {"mode": mode, "constraints": constraints, "uv": uv, "leave_out": list(leave_out)}
    (folder / "facts.json").write_text(json.dumps({**facts, "prefix": str(folder)}), "utf-8")
    conda = tools / "conda"
    words = [sys.executable, str(Path(__file__).resolve()), str(folder)]
    conda.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', "utf-8")
    conda.chmod(0o755)
    (tools / "activate").write_text(ACTIVATE, "utf-8")
    return tools


def calls(folder):
    """Words of every call so far."""
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text("utf-8").splitlines()]


def pip_lines(env_file):
    """Lines below `pip:` of an env file."""
    listed = yaml.safe_load(Path(env_file).read_text("utf-8"))["dependencies"]
    return [line for part in listed if isinstance(part, dict) for line in part["pip"]]


def create(facts, env_file, prefix):
    """`conda env create`."""
    listed = yaml.safe_load(Path(env_file).read_text("utf-8"))["dependencies"]
    version = f"python={sys.version_info.major}.{sys.version_info.minor}"
    if version not in listed:
        raise SystemExit(f"{env_file} does not ask for {version}, the only Python here")
    shared = facts["mode"] == "share"
    without = ["--without-pip"] if shared or facts["uv"] else []
    subprocess.run([sys.executable, "-m", "venv", *without, prefix], check=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": prefix, "platbase": prefix}))
    (site / "standin.pth").write_text(MARK + (sysconfig.get_path("purelib") + "\n" if shared else ""), "utf-8")
    lines = [line for line in pip_lines(env_file) if not line.startswith(tuple(facts["leave_out"]))]
    if lines and not shared:
        install(facts, prefix, lines)


def install(facts, prefix, lines):
    """Exactly these packages, and what they need."""
    python = f"{prefix}/bin/python"
    command = [facts["uv"], "pip", "install", "--python", python] if facts["uv"] else [python, "-m", "pip", "install"]
    constraints = ["-c", facts["constraints"]] if facts["constraints"] else []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(lines) + "\n")
        listed.flush()
        subprocess.run([*command, "-r", listed.name, *constraints], check=True)


def answer(facts, words):
    """Do what `conda WORDS` does; returns what it prints."""
    if words == ["info", "--json"]:
        return json.dumps({"conda_prefix": facts["prefix"], "platform": "linux-64"})
    if words == ["--version"]:
        return "conda 26.1.0"
    if words == ["config", "--get", "channel_priority", "--json"]:
        return json.dumps({"get": {"channel_priority": "strict"}})
    if words[:2] == ["env", "create"]:
        options, start = dict(zip(words, words[1:], strict=False)), time.monotonic()
        create(facts, options["--file"], options["--prefix"])
        (Path(options["--prefix"]) / "seconds").write_text(f"{time.monotonic() - start:.0f}", "utf-8")
        return ""
    if words == ["clean", "-y", "--tarballs"]:
        return ""
    raise SystemExit(f"the stand-in for conda does not know: conda {shlex.join(words)}")


def main():
    folder, *words = sys.argv[1:]
    with (Path(folder) / "calls.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(words) + "\n")
    print(answer(json.loads((Path(folder) / "facts.json").read_text("utf-8")), words))


if __name__ == "__main__":
    main()
