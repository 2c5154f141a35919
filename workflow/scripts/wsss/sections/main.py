"""config/config.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from wsss.constants import LONG_SIDE
from wsss.sections.crf import Backend
from wsss.sections.section import LeftOut, Name, Section, Text, TextOrNull, about


class Compute(Section):
    """Shapes results."""

    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], about("of trainings and predictions; auto: bf16 on a GPU that has it or a CPU with AMX, else fp32; CAMs and what feeds a walk are float32 always")]
    cpu_threads: Annotated[int, Field(ge=1, le=1024), about("threads of PyTorch on the CPU")]
    gpus: Annotated[int, Field(ge=1, le=64), about("GPUs of one machine that each training is spread over, by default 1; they share a batch_size, which it must divide")] = 1


class Crf(Section):
    """The dense CRF of seeds and predictions; shapes results (docs/crf.md)."""

    backend: Annotated[Backend, about("who computes it; auto: lattice, our own; torch: the same on the device of the job, for a GPU; pydensecrf: the package of that name, an extra of the install")] = "auto"


class Runtime(Section):
    """Shapes speed; `device` also what `compute.precision: auto` comes to, and how sums are rounded. A change reruns nothing."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Field(json_schema_extra={"renamed": {"gpu": "cuda"}}), about("where networks run")]
    workers: Annotated[int, Field(ge=0, le=1024), about("processes that read and augment images")]
    checkpoint_seconds: Annotated[float, Field(ge=0, le=1000000000), about("seconds between checkpoints of a training; 0: every step")]
    log_every: Annotated[int, Field(ge=1, le=10000000), about("steps between progress lines")]
    shards: Annotated[int, Field(ge=1, le=1000), about("jobs that each per-image stage is split into; files and indexes are the same for any number")]
    conda: Annotated[Literal["cuda", "cpu"], about("build of PyTorch in the environments that --sdm conda makes for stages that may use a GPU")]


class Weights(Section):
    """Local copies of ImageNet weights."""

    resnet18: Annotated[TextOrNull, about("torchvision's resnet18 file")] = None
    resnet50: Annotated[TextOrNull, about("torchvision's resnet50 file")] = None
    resnet101: Annotated[TextOrNull, about("torchvision's resnet101 file")] = None
    deit_small: Annotated[TextOrNull, about("DeiT's deit_small_patch16_224-cd65a155.pth, or timm's file of that network")] = None
    resnet38d: Annotated[TextOrNull, about("ademxapp's MXNet file ilsvrc-cls_rna-a1_cls1000_ep-0001.params; cannot be downloaded, see docs/backbones.md")] = None


class Report(Section):
    """The report."""

    panels: LeftOut[Annotated[int, Field(ge=0, le=64), about("training images shown per method, and half as many predicted ones")]] = None


class PhotoFolder(Section):
    """A folder of your own photos."""

    folder: Annotated[str, Field(min_length=1), about("folder of photos, folders in it included")]
    long_side: Annotated[int, Field(ge=32, le=8192), about("larger photos are shrunk to this for the network")] = LONG_SIDE


class Main(Section):
    """What a user edits."""

    datasets: Annotated[tuple[Name, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), about("names of files in config/datasets")]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), about("names of files in config/methods")]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=16777216)], ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), about("seed 0 is results/DATASET/METHOD, seed n METHOD.seedn")]
    compute: Annotated[Compute, about("shapes results")]
    crf: LeftOut[Annotated[Crf, about("the dense CRF of seeds and predictions; shapes results")]] = None
    runtime: Annotated[Runtime, about("shapes speed only")]
    weights: Annotated[Weights, about("local copies of ImageNet weights; null downloads them (resnet38d's cannot be)")]
    report: Annotated[Report, about("the report")]
    predict: LeftOut[Annotated[dict[Name, Text | PhotoFolder], about("folders of your own photos, by a name of yours: FOLDER, or {folder: FOLDER, long_side: PIXELS}; larger photos are shrunk to long_side (default 512) for the network (docs/predict.md)")]] = None
