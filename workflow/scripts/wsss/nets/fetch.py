"""Getting ImageNet weights: a download, or the user's own file. Apart, so that editing it retrains nothing."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from wsss.engine.download import download
from wsss.errors import UserError
from wsss.nets.catalog import entry, require_source
from wsss.nets.mxnet_params import is_params, read_params, rename
from wsss.nets.weights import convert, expected_shapes, form_of, read_state


def fetch(
    name: str,
    target: Path,
    local: Path | None = None,
    urls: Sequence[str] | None = None,
    sha256_prefix: str | None = None,
    lock_file: Path | None = None,
    retries: int = 3,
    progress: bool = True,
) -> Path:
    """Write the ImageNet weights of ``name`` to the safetensors file ``target``; return it.

    ``local`` (a state dict in the trunk's names, of torch.save or safetensors, float16 welcome; for resnet38d MXNet's
    .params too; whatever the file is called) goes before the download; ``urls`` and ``sha256_prefix`` replace the registry's; the rest
    goes to ``download``. Same input, same bytes.

    Raises:
        UserError: unknown name, no source, wrong checksum, damaged file, or weights of another architecture.
    """
    known, target = entry(name), Path(target)
    if local is not None:
        local = Path(local)
        return convert(_read_local(local, name), local, target, name, source=local.name)
    require_source(name, local)
    urls = [known["url"]] if urls is None else list(urls)
    raw = target.with_name(Path(known["url"]).name)
    try:
        download(urls, raw, sha256_prefix=sha256_prefix or known["sha256_prefix"], lock_file=lock_file, retries=retries, progress=progress)
    except UserError as error:
        raise UserError(f"{error}\nA copy of your own: set `weights: {{{name}: PATH}}` in config/config.yaml") from error
    convert(read_state(raw), raw, target, name, source=urls[0])
    raw.unlink()
    return target


def _read_local(local: Path, name: str) -> dict[str, Tensor]:
    is_other = not local.is_file() or form_of(local) is not None
    if is_other or not (local.suffix == ".params" or is_params(local)):
        return read_state(local)
    if name != "resnet38d":
        raise UserError(
            f"{local}: MXNet files are read for resnet38d only; give torchvision's file of {name}"
        )
    keys = [key for key in expected_shapes(name) if not key.endswith("num_batches_tracked")]
    return rename(read_params(local), keys, local)
