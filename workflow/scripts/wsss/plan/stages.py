"""The table of stages: what each reads, what it makes, what it is given. Rules, chains, digests and tests ask here.

Every function of the table takes the plan, and what a job of the stage is about: mostly a `Row`, for some the name
of a dataset or of a backbone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsss.plan import (
    data,
    given,
    masks,
    pages,
    photos,
    saliency,
    saliency_table,
    scores,
    segmentation,
    voc_test,
)
from wsss.plan.chain import refuse_circle
from wsss.plan.code import chain_code, code, learner, net, segmenter, walker, wrapper
from wsss.plan.masks import CAM, SEEDS, Read
from wsss.plan.paths import GROUND_TRUTH, INDEX, MODEL
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
        inputs: what else it reads, each a function that gives name -> path.
        params: name -> what it is given beside files.
        gpus: of a job; a function, or a number.
        refuse: raises UserError where the job cannot be meant.
        about: from a job's wildcards, what it is about.
    """

    makes: Mapping[str, str] = field(default_factory=dict)
    reads: Callable[["Plan", Row], Iterable[Read]] = lambda plan, row: ()
    inputs: tuple[Answer, ...] = ()
    params: Mapping[str, Answer] = field(default_factory=dict)
    gpus: Answer | int = 0
    refuse: Callable[["Plan", Any], None] = lambda plan, about: None
    about: Callable[[Any], Any] = Row.of


def _dataset(wildcards: Any) -> str:
    return wildcards.dataset


def _always(*reads: Read) -> Callable[["Plan", Row], Iterable[Read]]:
    return lambda plan, row: reads


NETWORK = {"recipe": given.recipe, "seed": given.seed, "compute": given.compute}
TRAINING = {**NETWORK, "compute": given.training_compute}

CHAIN = {  # image labels -> predictions
    "classifier": Stage(
        makes={**MODEL_FILES, "check": "check.json"},
        reads=masks.classifier_reads,
        inputs=(given.dataset_files, masks.classifier_weights, saliency.maps),
        params={
            **TRAINING,
            "settings": given.settings("classifier"),
            "net_options": given.net_options,
            "wrapper": given.wrapper,
            "code": code("classifier", net, wrapper),
        },
        gpus=given.training_gpus,
        refuse=refuse_circle("classifier", "labels_from"),
    ),
    "cam": Stage(
        makes=INDEX_FILE,
        reads=masks.cam_reads,
        inputs=(given.dataset_files,),
        params={
            **NETWORK,
            "settings": given.settings("cam"),
            "net_options": given.net_options,
            "code": code("cam", net),
        },
        gpus=1,
        refuse=refuse_circle("cam", "aux_from"),
    ),
    "threshold": Stage(
        makes={"threshold": masks.THRESHOLD.file},
        reads=_always(CAM),
        inputs=(given.dataset_files,),
        params={"code": code("threshold")},
        refuse=masks.refuse_threshold,
    ),
    "seeds": Stage(
        makes=INDEX_FILE,
        reads=masks.seeds_reads,
        inputs=(given.dataset_files,),
        params={"settings": given.crf_settings("seeds"), "code": code("seeds")},
        gpus=given.crf_gpus("seeds"),
        refuse=masks.refuse_fill,
    ),
    "ir_labels": Stage(
        makes=INDEX_FILE,
        reads=_always(SEEDS),
        inputs=(given.dataset_files,),
        params={"settings": given.settings("ir_labels"), "code": code("ir_labels")},
        refuse=masks.refuse_ir_labels,
    ),
    "affinity": Stage(
        makes=MODEL_FILES,
        reads=masks.affinity_reads,
        inputs=(given.dataset_files, masks.affinity_weights),
        params={
            **TRAINING,
            "settings": given.settings("affinity"),
            "refine": given.refine,
            "network": masks.walk_network,
            "code": code("affinity", learner),
        },
        gpus=given.training_gpus,
        refuse=masks.refuse_affinity,
    ),
    "pseudo_masks": Stage(
        makes=INDEX_FILE,
        reads=masks.pseudo_masks_reads,
        inputs=(given.dataset_files,),
        params={
            "settings": masks.pseudo_masks_settings,
            "refine": given.refine,
            "network": masks.walk_network,
            "compute": given.compute,
            "code": code("pseudo_masks", walker),
        },
        gpus=masks.walk_gpus,
    ),
    "segmentation": Stage(
        makes=MODEL_FILES,
        reads=segmentation.reads,
        inputs=(given.dataset_files, segmentation.inputs),
        params={
            **TRAINING,
            "settings": given.settings("segmentation"),
            "network": segmentation.network,
            "code": code("segmentation", segmenter),
        },
        gpus=given.training_gpus,
        refuse=segmentation.refuse,
    ),
    "predictions": Stage(
        makes=INDEX_FILE,
        reads=_always(Read("model", "segmentation", MODEL)),
        inputs=(given.dataset_files, given.digests("scored")),
        params={
            **NETWORK,
            "settings": given.crf_settings("predictions"),
            "network": segmentation.network,
            "code": code("predictions", segmenter),
        },
        gpus=1,
    ),
}

EVALUATION = Stage(
    makes=SCORES,
    reads=scores.reads,
    inputs=(given.dataset_files, given.digests(*GROUND_TRUTH)),
    params={
        "settings": given.settings("evaluation"),
        "recipe": given.recipe,
        "seed": given.seed,
        "supervision": scores.supervision,
        "imported": scores.imported,
        "refine": scores.refine,
        "thresholds": scores.thresholds,
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
        inputs=EVALUATION.inputs,
        params=EVALUATION.params,
        refuse=scores.refuse_mask_scores,
    ),
    "diagnosis": Stage(
        makes={"diagnosis": "diagnosis.json", "text": "diagnosis.txt"},
        reads=pages.diagnosis_reads,
        inputs=(given.dataset_files,),
        params={"recipe": given.recipe, "bg": masks.seed_bg, "cuts": pages.cuts, "code": code("diagnosis")},
    ),
    "panels": Stage(
        makes=INDEX_FILE,
        reads=pages.panels_reads,
        inputs=(given.dataset_files, given.digests(*GROUND_TRUTH), pages.panels_inputs),
        params={"panel_count": pages.panel_count, "bg": masks.seed_bg, "code": code("panels")},
    ),
    "report": Stage(
        inputs=(pages.report_inputs,),
        params={"methods": pages.report_methods, "templates": pages.templates, "code": code("report")},
        about=_dataset,
    ),
    "table": Stage(
        makes={"markdown": "table.md", "latex": "table.tex"},
        inputs=(pages.table_inputs,),
        params={"scores": pages.table_scores, "dataset": lambda plan, dataset: dataset, "code": code("table")},
        refuse=pages.table_refuse,
        about=_dataset,
    ),
    "saliency_table": Stage(
        makes={"markdown": "saliency_table.md", "latex": "saliency_table.tex"},
        inputs=(saliency_table.inputs,),
        params={"scores": saliency_table.scores, "sources": saliency_table.sources, "code": code("saliency_table")},
        refuse=saliency_table.refuse,
        about=lambda wildcards: None,
    ),
    "predict": Stage(
        makes={**INDEX_FILE, "areas": "areas.csv"},
        inputs=(photos.inputs,),
        params={
            **{name: photos.of_row(answer) for name, answer in NETWORK.items()},
            "settings": photos.of_row(photos.settings),
            "network": photos.of_row(segmentation.network),
            "code": photos.of_row(code("predict", segmenter)),
            "photos": photos.source,
            "stamp": photos.stamp,
        },
        gpus=1,
        about=photos.Photos.of,
    ),
    "voc_test": Stage(
        makes={**INDEX_FILE, "archive": "results.tar"},
        inputs=(voc_test.inputs,),
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
        inputs=(data.dataset_inputs,),
        params={"dataset": data.spec, "stamp": data.stamp, "code": code("dataset")},
        about=_dataset,
    ),
    "aug_masks": Stage(
        inputs=(data.aug_masks_inputs,),
        params={
            "folders": data.own_folders,
            "expected_counts": data.expected_counts,
            "stamp": data.stamp,
            "code": code("aug_masks"),
        },
        about=_dataset,
    ),
    "coco_masks": Stage(
        makes=INDEX_FILE,
        inputs=(data.coco_masks_inputs,),
        params={"settings": data.coco_masks_settings, "code": code("coco_masks")},
        about=_dataset,
    ),
    "saliency": Stage(
        makes=INDEX_FILE,
        inputs=(saliency.inputs,),
        params={"settings": saliency.settings, "code": code("saliency")},
        gpus=saliency.gpus,
        about=_dataset,
    ),
    "weights": Stage(
        inputs=(data.local_weights,),
        params={"code": data.weights_code},
        about=lambda wildcards: wildcards.backbone,
    ),
}

MERGE = Stage(  # of what the jobs of a split stage declare
    params={"shards": lambda plan, _: plan.main["runtime"]["shards"], "code": code("merge")},
    about=lambda wildcards: None,
)

STAGES = {"merge": MERGE, **SOURCES, **CHAIN, **READERS}
