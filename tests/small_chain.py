"""A chain of stages on six small images, run in-process on real files, without Snakemake."""

from helpers import Chain, folder_dataset
from wsss.data.manifest import load_manifest

MODEL, INDEX = "model.safetensors", "index.json"
SIZES = ((64, 64), (64, 64), (64, 80), (33, 90), (70, 64), (64, 64))
WALK_INPUTS = {"cam": f"cam/{INDEX}", "affinity": f"affinity/{MODEL}"}
EVALUATED = {
    **{name: f"{name}/{INDEX}" for name in ("cam", "seeds", "pseudo_masks")},
    **{name: f"{name}/{MODEL}" for name in ("classifier", "affinity")},
}


def chain_to_cam(root, **options):
    chain = Chain(folder_dataset(root, SIZES, **options))
    chain.run("classifier")
    chain.run("cam", {"model": f"classifier/{MODEL}"})
    return chain


def finish(chain):
    """From CAM to pseudo-masks by IRN."""
    chain.run("seeds", {"cam": f"cam/{INDEX}"})
    chain.run("ir_labels", {"seeds": f"seeds/{INDEX}"})
    chain.run("affinity", {"ir_labels": f"ir_labels/{INDEX}", "classifier": f"classifier/{MODEL}"})
    chain.run("pseudo_masks", WALK_INPUTS)


def records_of(chain):
    return load_manifest(chain.results / "manifest.csv").split("all")


def first_cam(chain):
    return chain.results / "cam" / f"{next(r for r in records_of(chain) if r.labels).id}.npz"


def consumers():
    return {
        "seeds": {"cam": f"cam/{INDEX}"},
        "pseudo_masks": WALK_INPUTS,
    }
