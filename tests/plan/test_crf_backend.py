"""Which backend computes the CRF stands in the parameters of the stages that have one."""

import pytest
import yaml
from helpers import REPOSITORY
from wsss.errors import UserError
from wsss.plan.plan import Plan
from wsss.plan.row import Row


def plan_with(**crf):
    main = yaml.safe_load((REPOSITORY / "config/config.yaml").read_text())
    return Plan(REPOSITORY / "config", {**main, "crf": crf})


@pytest.mark.parametrize("stage", ["seeds", "predictions"])
@pytest.mark.parametrize("chosen, used", [("auto", "lattice"), ("lattice", "lattice"), ("pydensecrf", "pydensecrf"), ("torch", "torch"), (None, "lattice")])
def test_stages_with_a_crf_are_told(stage, chosen, used):
    plan = plan_with(**({"backend": chosen} if chosen else {}))
    assert plan.param(stage, "settings", Row("voc12", "cam"))["crf_params"]["backend"] == used


@pytest.mark.parametrize("chosen, gpus", [("auto", 0), ("torch", 1)])
def test_seeds_ask_for_a_gpu_where_torch_computes_them(chosen, gpus):
    assert plan_with(backend=chosen).gpus("seeds", Row("voc12", "cam")) == gpus


def test_unknown_backend_is_refused():
    with pytest.raises(UserError, match="crf.backend"):
        plan_with(backend="cuda")
