"""The table of stages: what each reads, what it makes, what it is given. Rules, chains, digests and tests ask here.

Every function of the table takes the plan, and the subject of a job: mostly a `Row`, for some the name
of a dataset or of a backbone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsss.plan import (
    data,
    pages,
    photos,
    saliency,
    saliency_table,
    scores,
    segmentation,
    shared,
    until_masks,
    voc_test,
)
from wsss.plan.code import chain_code, code, learner, net, segmenter, walker, wrapper
from wsss.plan.paths import GROUND_TRUTH, INDEX, MODEL
from wsss.plan.read import SEEDS, THRESHOLD, Read
from wsss.plan.row import Row

if TYPE_CHECKING:
    from wsss.plan.plan import Plan

Answer = Callable[["Plan", Any], Any]

MODEL_FILES = {"model": MODEL, "history": "history.csv"}
INDEX_FILE = {"index": INDEX}
SCORES = {"miou": "miou.txt", "scores": "scores.json", "sweep": "sweep.csv", "per_image": "per_image.csv"}


@dataclass(frozen=True)
class Stage:
    """What is planned for one stage.

    Attributes:
        makes: name -> file, in the stage's folder.
        reads: what it reads of other stages.
        other_files: what else it reads, each a function that gives name -> path.
        params: name -> what it is given beside files.
        gpus: of a job; a function, or a number.
        refuse: raises UserError where the job cannot be meant.
        subject: wildcards -> what the job is for: a Row, the name of a dataset or of a backbone.
    """

    makes: Mapping[str, str] = field(default_factory=dict)
    reads: Callable[["Plan", Row], Iterable[Read]] = lambda plan, row: ()
    other_files: tuple[Answer, ...] = ()
    params: Mapping[str, Answer] = field(default_factory=dict)
    gpus: Answer | int = 0
    refuse: Callable[["Plan", Any], None] = lambda plan, subject: None
    subject: Callable[[Any], Any] = Row.of


def _dataset(wildcards: Any) -> str:
    return wildcards.dataset


def _always(*reads: Read) -> Callable[["Plan", Row], Iterable[Read]]:
    return lambda plan, row: reads


NETWORK = {"recipe": shared.recipe_facts, "seed": shared.seed, "compute": shared.compute}
TRAINING = {**NETWORK, "compute": shared.training_compute}

CHAIN = {  # image labels -> predictions
    "classifier": Stage(
        makes={**MODEL_FILES, "check": "check.json"},
        reads=until_masks.classifier_reads,
        other_files=(shared.dataset_files, until_masks.classifier_weights, saliency.maps),
        params={
            **TRAINING,
            "settings": shared.settings("classifier"),
            "net_options": shared.net_options,
            "wrapper": shared.wrapper,
            "code": code("classifier", net, wrapper),
        },
        gpus=shared.training_gpus,
        refuse=until_masks.refuse_classifier,
    ),
    "cam": Stage(
        makes=INDEX_FILE,
        reads=until_masks.cam_reads,
        other_files=(shared.dataset_files,),
        params={
            **NETWORK,
            "compute": shared.threads,
            "settings": until_masks.cam_settings,
            "net_options": shared.net_options,
            "code": code("cam", net),
        },
        gpus=1,
        refuse=until_masks.refuse_cam,
    ),
    "threshold": Stage(
        makes={"threshold": THRESHOLD.file},
        reads=until_masks.threshold_reads,
        other_files=(shared.dataset_files, until_masks.threshold_maps),
        params={"code": code("threshold")},
        refuse=until_masks.refuse_threshold,
    ),
    "seeds": Stage(
        makes=INDEX_FILE,
        reads=until_masks.seeds_reads,
        other_files=(shared.dataset_files,),
        params={"settings": shared.crf_settings("seeds"), "code": code("seeds")},
        gpus=shared.crf_gpus("seeds"),
        refuse=until_masks.refuse_fill,
    ),
    "ir_labels": Stage(
        makes=INDEX_FILE,
        reads=_always(SEEDS),
        other_files=(shared.dataset_files,),
        params={"settings": shared.settings("ir_labels"), "code": code("ir_labels")},
        refuse=until_masks.refuse_ir_labels,
    ),
    "affinity": Stage(
        makes=MODEL_FILES,
        reads=until_masks.affinity_reads,
        other_files=(shared.dataset_files, until_masks.affinity_weights),
        params={
            **TRAINING,
            "settings": shared.settings("affinity"),
            "refine": shared.refine,
            "network": until_masks.walk_network,
            "code": code("affinity", learner),
        },
        gpus=shared.training_gpus,
        refuse=until_masks.refuse_affinity,
    ),
    "pseudo_masks": Stage(
        makes=INDEX_FILE,
        reads=until_masks.pseudo_masks_reads,
        other_files=(shared.dataset_files,),
        params={
            "settings": until_masks.pseudo_masks_settings,
            "refine": shared.refine,
            "network": until_masks.walk_network,
            "code": code("pseudo_masks", walker),
        },
        gpus=until_masks.walk_gpus,
    ),
    "segmentation": Stage(
        makes=MODEL_FILES,
        reads=segmentation.reads,
        other_files=(shared.dataset_files, segmentation.inputs),
        params={
            **TRAINING,
            "settings": shared.settings("segmentation"),
            "network": segmentation.network,
            "code": code("segmentation", segmenter),
        },
        gpus=shared.training_gpus,
        refuse=segmentation.refuse,
    ),
    "predictions": Stage(
        makes=INDEX_FILE,
        reads=_always(Read("model", "segmentation", MODEL)),
        other_files=(shared.dataset_files, shared.digests("scored")),
        params={
            **NETWORK,
            "settings": shared.crf_settings("predictions"),
            "network": segmentation.network,
            "code": code("predictions", segmenter),
        },
        gpus=1,
    ),
}

EVALUATION = Stage(
    makes=SCORES,
    reads=scores.reads,
    other_files=(shared.dataset_files, shared.digests(*GROUND_TRUTH)),
    params={
        "settings": shared.settings("evaluation"),
        "recipe": shared.recipe_facts,
        "seed": shared.seed,
        "supervision": scores.supervision,
        "imported": scores.imported,
        "refine": scores.refine,
        "backbones": scores.backbones,
        "segmenter": segmentation.net,
        "test_scales": scores.test_scales,
        "chain_code": chain_code,
        "code": code("evaluation"),
    },
    refuse=scores.refuse,
)

READERS = {  # of what a chain has made
    "evaluation": EVALUATION,
    "mask_scores": Stage(
        makes=SCORES,
        reads=scores.reads_without_segmentation,
        other_files=EVALUATION.other_files,
        params=EVALUATION.params,
        refuse=scores.refuse_mask_scores,
    ),
    "diagnosis": Stage(
        makes={"diagnosis": "diagnosis.json", "text": "diagnosis.txt"},
        reads=pages.diagnosis_reads,
        other_files=(shared.dataset_files, pages.diagnosis_files),
        params={"recipe": shared.recipe_facts, "bg": until_masks.seed_bg, "code": code("diagnosis")},
    ),
    "panels": Stage(
        makes=INDEX_FILE,
        reads=pages.panels_reads,
        other_files=(shared.dataset_files, shared.digests(*GROUND_TRUTH), pages.panels_inputs),
        params={"panel_count": pages.panel_count, "bg": until_masks.seed_bg, "code": code("panels")},
    ),
    "report": Stage(
        other_files=(pages.report_inputs,),
        params={"methods": pages.report_methods, "templates": pages.templates, "code": code("report")},
        subject=_dataset,
    ),
    "table": Stage(
        makes={"markdown": "table.md", "latex": "table.tex"},
        other_files=(pages.table_inputs,),
        params={"scores": pages.table_scores, "dataset": lambda plan, dataset: dataset, "code": code("table")},
        refuse=pages.table_refuse,
        subject=_dataset,
    ),
    "saliency_table": Stage(
        makes={"markdown": "saliency_table.md", "latex": "saliency_table.tex"},
        other_files=(saliency_table.inputs,),
        params={"scores": saliency_table.scores, "sources": saliency_table.sources, "code": code("saliency_table")},
        refuse=saliency_table.refuse,
        subject=lambda wildcards: None,
    ),
    "predict": Stage(
        makes={**INDEX_FILE, "areas": "areas.csv"},
        other_files=(photos.inputs,),
        params={
            **{name: photos.of_row(answer) for name, answer in NETWORK.items()},
            "settings": photos.of_row(photos.settings),
            "network": photos.of_row(segmentation.network),
            "code": photos.of_row(code("predict", segmenter)),
            "photos": photos.source,
            "stamp": photos.stamp,
        },
        gpus=1,
        subject=photos.Photos.of,
    ),
    "voc_test": Stage(
        makes={**INDEX_FILE, "archive": "results.tar"},
        other_files=(voc_test.inputs,),
        params={
            **NETWORK,
            "settings": photos.settings,
            "network": segmentation.network,
            "code": code("voc_test", segmenter),
            "tree": voc_test.tree,
            "stamp": voc_test.stamp,
        },
        gpus=1,
    ),
}

SOURCES = {  # of what a chain begins with
    "dataset": Stage(
        makes={"manifest": "manifest.csv", "dataset": "dataset.json"},
        other_files=(data.dataset_inputs,),
        params={"dataset": data.spec, "stamp": data.stamp, "code": code("dataset")},
        subject=_dataset,
    ),
    "aug_masks": Stage(
        other_files=(data.aug_masks_inputs,),
        params={
            "folders": data.own_folders,
            "expected_counts": data.expected_counts,
            "stamp": data.stamp,
            "code": code("aug_masks"),
        },
        subject=_dataset,
    ),
    "coco_masks": Stage(
        makes=INDEX_FILE,
        other_files=(data.coco_masks_inputs,),
        params={"settings": data.coco_masks_settings, "code": code("coco_masks")},
        subject=_dataset,
    ),
    "saliency": Stage(
        makes=INDEX_FILE,
        other_files=(saliency.inputs,),
        params={"settings": saliency.settings, "code": code("saliency")},
        gpus=saliency.gpus,
        subject=_dataset,
    ),
    "weights": Stage(
        other_files=(data.local_weights,),
        params={"code": data.weights_code},
        subject=lambda wildcards: wildcards.backbone,
    ),
}

MERGE = Stage(  # of what the jobs of a split stage declare
    params={"shards": lambda plan, _: plan.main["runtime"]["shards"], "code": code("merge")},
    subject=lambda wildcards: None,
)

STAGES = {"merge": MERGE, **SOURCES, **CHAIN, **READERS}
