"""What the rules and profiles declare."""

import os

import pytest
import yaml
from helpers import GPU_RULES
from wsss.plan.stages import STAGES

from rules import every_rule, read_rules


def test_every_rule_declares_what_a_cluster_and_a_person_need():
    rules = every_rule()
    assert GPU_RULES | {"dataset", "weights", "seeds", "ir_labels", "evaluation", "diagnosis", "report", "merge"} <= set(rules)
    for name, rule in rules.items():
        assert rule["output"] and rule["log"] and rule["benchmark"] and rule["params"], name
        assert {"mem_mb", "runtime", "_cores"} <= set(rule["resources"]), name
        assert ("gpu" in rule["resources"]) == (name in {*GPU_RULES, "saliency", "seeds"}), name
        assert "retries" not in rule["resources"], "retries belong in the profile"
        assert rule["conda"].is_file() and rule["script"].is_file(), name
        assert rule["script"].stem in (name, {"mask_scores": "evaluation"}.get(name), name.partition("_")[0]), name


def test_rules_make_what_the_plan_says_that_stages_make():
    for name, rule in read_rules().items():
        if STAGES.get(name) and STAGES[name].makes:
            files = {key: os.path.basename(path) for key, path in rule["output"].items()}
            assert STAGES[name].makes.items() <= files.items(), name


def test_rerun_triggers_leave_out_code_and_its_times(fresh):
    for profile in ("default", "slurm"):
        settings = yaml.safe_load((fresh / f"profiles/{profile}/config.yaml").read_text())
        assert settings["rerun-triggers"] == ["mtime", "params", "input", "software-env"]
        assert settings["rerun-incomplete"] is True


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_equal_files_are_known_for_equal_up_to_the_size_of_models(fresh, profile):
    """Snakemake's own limit, 1 MB, is less than VOC's manifest has."""
    settings = yaml.safe_load((fresh / f"profiles/{profile}/config.yaml").read_text())
    assert settings["max-checksum-file-size"] >= 200_000_000  # resnet101
