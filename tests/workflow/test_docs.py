"""README and docs say what is true: links, commands, function names, examples, the config reference."""

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import add_method
from PIL import Image
from wsss.data import folder
from wsss.recipes.config import Config, read_yaml

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OWN_PHOTOS = ROOT / "docs/own_photos.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
TYPED = [README, OWN_PHOTOS, ROOT / "docs/from_paper_to_command.md"]  # whose commands are planned, one by one
NAME = re.compile(r"`(wsss(?:\.\w+)+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w/.])((?:workflow|config|rules|profiles|envs|container|benchmarks|tests|docs)/[\w./-]+\.(?:py|yaml|md|smk|json|def))\b")
TARGET = re.compile(r"results/([a-z0-9_]+)/([a-z0-9_]+)(?:\.seed\d)?/")
READERS_OWN = {  # files that a page tells the reader to write, or a run writes; and names in them
    "config/checksums.json", "config/datasets/photos.yaml", "config/datasets/voc12_pfan.yaml", "config/methods/amn_r101.yaml",
    "config/methods/cam_authors.yaml", "config/methods/cam_wide.yaml", "config/methods/corrected.yaml", "config/methods/fsae_cpn.yaml",
    "config/methods/mine.yaml", "config/methods/theirs.yaml", "workflow/scripts/wsss/methods/mine.py",
}  # fmt: skip
PROJECT = ("Snakefile", "rules", "config", "workflow", "profiles", "envs")


def blocks(page, language):
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page):
    """Command lines of Snakemake in a page, fenced or inline; those that only pack a report are left out."""
    fenced = [line.split("  #")[0] for block in blocks(page, "bash") for line in block.splitlines()]
    parts = [part.strip() for line in fenced if not line.startswith("#") for part in line.split("&&")]
    parts += re.findall(r"`(snakemake [^`]+)`", page.read_text("utf-8"))
    found = [part for part in parts if re.match(r"snakemake( |$)", part) and "--report" not in part]
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the example of own photos in place."""
    root = tmp_path_factory.mktemp("project")
    for name in PROJECT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / "config/datasets/photos.yaml").write_text(own_dataset(), "utf-8")
    (root / "photos/images").mkdir(parents=True)
    (root / "photos/labels.csv").write_text(blocks(OWN_PHOTOS, "csv")[0], "utf-8")
    for line in blocks(OWN_PHOTOS, "csv")[0].splitlines()[1:]:
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "photos/images" / line.split(",")[0])
    return root


def own_dataset():
    """The dataset file of the page on own photos."""
    return next(block for block in blocks(OWN_PHOTOS, "yaml") if block.startswith("# config/datasets/photos.yaml"))


def test_config_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/make_config_reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.main(["--check"]) == 0, "run: python docs/make_config_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_exist(page):
    """Files, and the headings in them."""
    links = [link.partition("#") for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    missing = ["".join(parts) for parts in links if not is_there(page.parent / parts[0] if parts[0] else page, parts[2])]
    assert not missing


def is_there(target, anchor):
    """Whether a file exists and, if an anchor is given, has a heading of that name."""
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page):
    """The names by which a page's headings are linked, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_index_names_every_page():
    linked = {link.split("#")[0] for link in LINK.findall((ROOT / "docs/index.md").read_text("utf-8"))}
    assert not [name for page in DOCS if (name := page.relative_to(ROOT / "docs").as_posix()) not in {"index.md", *linked}]


def test_site_names_every_page():
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    named = {name for part in menu for entry in part.values() for name in ([entry] if isinstance(entry, str) else entry)}
    assert named == {page.relative_to(ROOT / "docs").as_posix() for page in DOCS}


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name == "methods"], ids=lambda p: p.stem)
def test_method_page_can_be_cited(page):
    entry = blocks(page, "bibtex")[0]
    assert all(re.search(rf"^  {field} += {{", entry, re.MULTILINE) for field in ("title", "author", "booktitle", "year"))


def test_citation_has_the_version_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (package["version"], "MIT")


def test_hooks_before_a_commit_are_checks_of_ci():
    checks = (ROOT / ".ci/run").read_text("utf-8")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks if hook["id"] != "docs" and hook["entry"] not in checks] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_names_of_functions_exist(page):
    assert not [name for name in NAME.findall(page.read_text("utf-8")) if not can_resolve(name)]


def can_resolve(name):
    """Whether a dotted name is a module, or an attribute of the longest module it begins with."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name == "methods"], ids=lambda p: p.stem)
def test_method_page_names_functions(page):
    table = page.read_text("utf-8").split("## Equations and functions")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows and all(NAME.search(row) for row in rows)


def test_benchmarks_named_exist():
    named = set(re.findall(r"`(benchmarks/\w+\.py)`", (ROOT / "docs/performance.md").read_text("utf-8")))
    assert not [path for path in sorted(named) if not (ROOT / path).is_file()]


@pytest.mark.parametrize("page", [*PAGES, ROOT / ".pre-commit-config.yaml"], ids=lambda p: p.stem)
def test_tests_named_exist(page):
    named = set(re.findall(r"\btests/[\w/]+\.py", page.read_text("utf-8"))) - {"tests/released/test_golden_NAME.py"}
    assert not [path for path in sorted(named) if not (ROOT / path).is_file()]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "config/README.md"], ids=lambda p: p.stem)
def test_files_and_targets_named_exist(page):
    """Words in capitals (NAME, STAGE) stand for any."""
    text = page.read_text("utf-8")
    paths = {path for path in PATH.findall(text) if not re.search(r"(NAME|STAGE)\b", path)}
    assert not [path for path in sorted(paths - READERS_OWN) if not (ROOT / path).exists()]
    known = {kind: {Path(path).stem for path in [*READERS_OWN, *(ROOT / "config" / kind).glob("*.yaml")]} for kind in ("datasets", "methods")}
    assert not [target for target in TARGET.findall(text) if target[0] not in known["datasets"] or target[1] not in {*known["methods"], "report"}]


def test_files_of_the_reading_tour_exist():
    """Paths without a folder are in the library."""
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/follow_one_run.md").read_text("utf-8"))
    library = ROOT / "workflow/scripts/wsss"
    assert not [path for path in named if not (library / path).is_file() and not (ROOT / path).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_no_placeholder_is_left(page):
    assert not re.findall(r"@@\w+@@", page.read_text("utf-8"))


@pytest.mark.parametrize("command", dict.fromkeys(command for page in TYPED for command in commands(page)))
def test_command_has_a_plan(command, project):
    if "slurm" in command:
        pytest.importorskip("snakemake_executor_plugin_slurm", reason="the SLURM plugin is not installed")
    words = [sys.executable, "-m", *shlex.split(command)]
    words += [] if "-n" in words else ["-n"]
    done = subprocess.run([*words, "--quiet"], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_own_photos_become_a_dataset(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    spec = yaml.safe_load(own_dataset())
    dataset = folder.build(spec["params"], tmp_path)
    assert dataset.classes == ("cat", "dog", "sofa")
    assert len(dataset.split("trainaug")) == 2 and len(dataset.split("val")) == 1


def test_columns_of_classes_are_joined(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("one_hot.csv").write_text("image,dog,cat\na.jpg,1,0\nb.jpg,1,1\nc.jpg,0,0\n")
    exec(next(block for block in blocks(ROOT / "docs/datasets.md", "python") if "one_hot" in block), {})
    assert Path("photos/labels.csv").read_text() == "image,labels\na.jpg,dog\nb.jpg,dog;cat\nc.jpg,\n"


def changes(page):
    """Values for the dataset's file that a page names inline."""
    return re.findall(r"`(overrides: [^`]+)`", page.read_text("utf-8"))


@pytest.mark.parametrize("change", changes(OWN_PHOTOS))
def test_change_of_own_photos_reaches_recipes(change, project, tmp_path):
    """The recipe that it names and, of what most others extend, `amn` too."""
    shutil.copytree(project / "config", tmp_path / "config")
    with open(tmp_path / "config/datasets/photos.yaml", "a", encoding="utf-8") as file:
        file.write(f"\n{change}\n")
    config = Config(tmp_path / "config", read_yaml(tmp_path / "config/config.yaml"))
    ((name, wanted),) = yaml.safe_load(change)["overrides"].items()
    for method in {name, "amn"} if name in ("cam", "irn") else {name}:
        assert lies_in(wanted, config.recipe(method, "photos"))


def lies_in(part, whole):
    """Whether all values of nested dicts stand in another one."""
    if isinstance(part, dict):
        return all(name in whole and lies_in(value, whole[name]) for name, value in part.items())
    return part == whole


def test_recipes_of_the_newcomers_page_resolve(project, tmp_path, monkeypatch):
    add_method(monkeypatch, tmp_path, blocks(ROOT / "docs/add_a_method.md", "python")[0])
    shutil.copytree(project / "config", tmp_path / "config")
    texts = [*blocks(ROOT / "docs/add_a_method.md", "yaml"), *(t for t in blocks(ROOT / "docs/from_paper_to_command.md", "yaml") if "amn_r101" in t)]
    for name, text in zip(("mine", "mine_irn", "amn_r101"), texts, strict=True):
        (tmp_path / f"config/methods/{name}.yaml").write_text(text, "utf-8")
    config = Config(tmp_path / "config", read_yaml(tmp_path / "config/config.yaml"))
    for dataset in ("voc12", "demo_tiny"):
        assert config.recipe("mine", dataset)["net_options"]["strength"] == 0.5
        assert config.owner("mine", dataset, "ir_labels") == config.owner("mine_irn", dataset, "classifier") == "mine"
    assert config.recipe("amn_r101", "voc12")["backbone"] == "resnet101"
