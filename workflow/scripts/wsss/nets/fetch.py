"""Getting ImageNet weights: a download, or the user's own file. Apart, so that editing it retrains nothing."""

from collections.abc import Sequence
from pathlib import Path

from wsss.io.download import download
from wsss.nets.weights import convert, entry


def fetch(
    name: str,
    target: Path,
    local: Path | None = None,
    urls: Sequence[str] | None = None,
    sha256_prefix: str | None = None,
    **options: object,
) -> Path:
    """Write the ImageNet weights of ``name`` to the safetensors file ``target``; return it.

    ``local`` (a torchvision state dict, .pth or .safetensors, float16 welcome) goes before the download;
    ``urls`` and ``sha256_prefix`` replace the registry's; ``options`` go to ``download``. Same input, same
    bytes.

    Raises:
        UserError: unknown name, no source, wrong checksum, damaged file, or weights of another architecture.
    """
    known, target = entry(name), Path(target)
    if local is not None:
        return convert(Path(local), target, name, source=Path(local).name)
    urls = [known["url"]] if urls is None else list(urls)
    raw = target.with_name(Path(known["url"]).name)
    download(urls, raw, sha256_prefix=sha256_prefix or known["sha256_prefix"], **options)
    convert(raw, target, name, source=urls[0])
    raw.unlink()
    return target
