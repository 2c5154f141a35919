"""The rules as Snakemake has read them."""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import REPOSITORY, environment

READ = """
include: "{home}/Snakefile"

import json


def plain(value):
    return value if isinstance(value, int | str) else "function"


facts = {{
    each.name: {{
        "output": {{name: str(path) for name, path in each.output.items()}},
        "log": [str(path) for path in each.log],
        "benchmark": each.benchmark and str(each.benchmark),
        "params": sorted(each.params.keys()),
        "conda": f"{{each.basedir}}/{{each.conda_env}}",
        "script": f"{{each.basedir}}/{{each.script}}",
        "resources": {{name: plain(each.resources[name].raw) for name in each.resources}},
        "local": each.name in workflow._localrules,
    }}
    for each in workflow.rules
    if each.script
}}
with open("rules.json", "w") as out:
    json.dump(facts, out)
"""


@functools.cache
def read_rules(*config):
    """name -> what each rule with a script declares; `config`: settings as on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Snakefile").write_text(READ.format(home=REPOSITORY))
        command = [sys.executable, "-m", "snakemake", "--list-rules", *(["--config", *config] if config else [])]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(Path(folder, "rules.json").read_text())
    for rule in found.values():
        rule["conda"], rule["script"] = Path(rule["conda"]).resolve(), Path(rule["script"]).resolve()
    return found


def every_rule(conda="cuda"):
    """Those that merge what jobs of a stage made included; `conda`: the build of PyTorch."""
    return read_rules(f"runtime={{shards: 2, conda: {conda}}}")
