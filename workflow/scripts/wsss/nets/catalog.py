"""What is known of the trunks before any is built. Plain data: the rules ask at start, so no torch here."""

from wsss.errors import UserError

# torchvision's IMAGENET1K_V1 weights, and DeiT's, whose file names carry the first 8 hex digits of the sha256. ResNet38d's
# only public file is an old MXNet one without a lasting address or a published checksum.
WEIGHTS = {
    "resnet18": {
        "url": "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        "sha256_prefix": "f37072fd",
    },
    "resnet50": {
        "url": "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "sha256_prefix": "0676ba61",
    },
    "resnet101": {
        "url": "https://download.pytorch.org/models/resnet101-63fe2227.pth",
        "sha256_prefix": "63fe2227",
    },
    "deit_small": {
        "by": "DeiT",
        "url": "https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth",
        "sha256_prefix": "cd65a155",
    },
    "resnet38d": {"file": "ilsvrc-cls_rna-a1_cls1000_ep-0001.params"},
}

# Trunks of tokens, which nets of a token for each class take and no other; a size that is fixed, in net_options' words.
TRANSFORMERS = {"deit_small": {"patch": 16, "dim": 384, "depth": 12, "heads": 6, "grid": 14}, "vit": {}}
FIXED_STRIDES = {"resnet38d": 8}  # trunks that exist at one output stride only


def entry(name: str) -> dict[str, str]:
    """A backbone's row of WEIGHTS. UserError for a name without any."""
    if name not in WEIGHTS:
        raise UserError(
            f"weights: there are none for {name!r}; choose {', '.join(WEIGHTS)}, or set `weights: none`"
        )
    return WEIGHTS[name]


def require_source(name: str, local: str | None) -> None:
    """See that a backbone's weights can be had: `local` is the user's own copy, None a download.

    Raises:
        UserError: there is neither; says what to look for.
    """
    known = entry(name)
    if not local and "url" not in known:
        raise UserError(
            f"weights: {name}'s ImageNet weights have no public address to rely on. Get {known['file']} (about 437 MB, "
            f"ademxapp's Model A1; EPS, SEAM and others use it) and set `weights: {{{name}: PATH}}` in config/config.yaml "
            "(that file, or .safetensors or .pth in this project's names); or take backbone: resnet50"
        )


def require_stride(name: str, stride: int | None, where: str, key: str) -> None:
    """See that a trunk exists at an output stride. UserError, saying what to set `key` to, where it does not."""
    only = FIXED_STRIDES.get(name, stride)
    if stride != only:
        raise UserError(
            f"{where}: backbone {name} exists at output stride {only} only; set {key}: {{output_stride: {only}}}"
        )
