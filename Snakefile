"""Weakly-supervised semantic segmentation: image labels in, a scored segmentation out.

snakemake                                   every method on every dataset of config/config.yaml, and reports
snakemake results/demo/amn/miou.txt         one method on one dataset
snakemake -n results/voc12/amn/miou.txt     what that would do
"""

from snakemake.utils import min_version

min_version("9.9")


include: "rules/common.smk"


configfile: f"{HOME}/config/config.yaml"


from_plan = FromPlan(HOME, config)
name_near_targets(workflow, from_plan.names(), from_plan.misnamed())
from_plan.warn_of_missing(workflow)


report: "workflow/report/workflow.rst"


include: "rules/dataset.smk"
include: "rules/coco_masks.smk"
include: "rules/weights.smk"
include: "rules/saliency.smk"
include: "rules/classifier.smk"
include: "rules/cam.smk"
include: "rules/threshold.smk"
include: "rules/seeds.smk"
include: "rules/ir_labels.smk"
include: "rules/affinity.smk"
include: "rules/pseudo_masks.smk"
include: "rules/segmentation.smk"
include: "rules/predictions.smk"
include: "rules/predict.smk"
include: "rules/voc_test.smk"
include: "rules/evaluation.smk"
include: "rules/diagnosis.smk"
include: "rules/report.smk"


if from_plan.shards > 1:

    include: "rules/shards.smk"


wildcard_constraints:
    dataset="[a-z0-9_]+",
    method=ROW,
    backbone="[a-z0-9_]+",


onstart:
    from_plan.check_start(workflow)
    lines.begin()


onsuccess:
    lines.end(True)


onerror:
    lines.end(False)


rule all:
    default_target: True
    input:
        from_plan.targets(),
