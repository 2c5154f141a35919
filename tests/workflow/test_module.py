"""The workflow as a module of another one, in another folder."""

from helpers import copy_project, shorten, snakemake

OUTER = """
configfile: "outer.yaml"


module wsss:
    snakefile:
        "{home}/Snakefile"
    config:
        config["wsss"]


use rule * from wsss


rule headline:
    default_target: True
    input:
        "results/demo_tiny/cam/classifier/history.csv",
    output:
        "headline.txt",
    shell:
        "head -n 1 {{input}} > {{output}}"
"""


def test_another_workflow_goes_on_from_its_results(tmp_path):
    home, outer = shorten(copy_project(tmp_path / "lib")), tmp_path / "outer"
    outer.mkdir()
    (outer / "Snakefile").write_text(OUTER.format(home=home))
    inner = (home / "config/config.yaml").read_text()
    (outer / "outer.yaml").write_text("wsss:\n" + "".join(f"  {line}\n" for line in inner.splitlines()))
    done = snakemake(outer, "--cores", "1", "--resources", "gpu=1")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (outer / "headline.txt").read_text().startswith("step,lr,total")
    assert not (home / "results").exists() and (outer / "logs/demo_tiny/cam/classifier.log").exists()


def test_a_mistake_is_one_line_there_too(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f'module wsss:\n    snakefile:\n        "{copy_project(tmp_path / "lib")}/Snakefile"\n\n\nuse rule * from wsss\n'
    )
    done = snakemake(tmp_path, "-n", "results/demo_tiny/anm/miou.txt")
    lines = done.stdout.strip().splitlines()
    assert done.returncode != 0 and "anm.yaml: no such file" in lines[-1] and "Traceback" not in done.stdout


def test_only_what_nobody_makes_there_is_refused_and_named(tmp_path):
    home = copy_project(tmp_path / "lib")
    (tmp_path / "Snakefile").write_text(
        f'module wsss:\n    snakefile:\n        "{home}/Snakefile"\n\n\nuse rule * from wsss\n\n\n'
        'rule other:\n    output:\n        "results/{dataset}/{method}/miuo.txt",\n    shell:\n        "touch {output}"\n'
    )
    planned = snakemake(tmp_path, "-n", "results/demo_tiny/amn/miuo.txt")
    assert planned.returncode == 0 and "rule other" in planned.stdout, planned.stdout[-2000:]
    refused = snakemake(tmp_path, "-n", "results/demo_tiny/amn/moiu.txt")
    assert refused.returncode != 0 and "did you mean results/demo_tiny/amn/mi" in refused.stdout.strip().splitlines()[-1]
    assert "nothing makes a file of this name" in snakemake(tmp_path, "-n", "results/foo.bam").stdout
