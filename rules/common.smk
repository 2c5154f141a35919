# Paths, recipe look-up, code versions: everything the rules ask before anything runs.

import functools
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args

from wsss import methods, wrappers
from wsss.chain import behind, imports_behind, refuse_circle
from wsss.cluster import end_jobs, refuse_shell_words
from wsss.codeversion import code_version
from wsss.config import STAGES, Config
from wsss.data.photos import find_photos, photo_source, require_apart
from wsss.errors import UserError
from wsss.found import CUT_AFTER, FOUND, MAP, NO_CUT, is_found, seed_rule
from wsss.ground_truth import has_masks
from wsss.imported import described, import_folder, refuse_imported_seeds, require_import, require_settings
from wsss.refinement import NETWORK, WALKS, require_probabilities, require_same_walk
from wsss.saliency.command import named_files
from wsss.stages import walks
from wsss.io.header import read_facts
from wsss.io.shards import index_paths
from wsss.nets import segmenters
from wsss.nets.catalog import require_source
from wsss.report.template_version import template_version
from wsss.rownames import base_name, seed_number, with_seed
from wsss.userdata import check_coco, coco_annotations, folder_stamp, saliency_maker
from wsss.watched import dataset_files, require_manifest, stamp

# For stages whose Snakemake dies before they have begun.
os.environ.update(WSSS_SNAKEMAKE_PID=str(os.getpid()))

# From the working directory: a project that is moved downloads nothing again.
LOCK_FILE = os.path.relpath(f"{workflow.basedir}/config/checksums.json")

CONFIG = plainly(Config)(f"{workflow.basedir}/config", config)
config.update(CONFIG.main)


@asked
def recipe_of(w):
    return CONFIG.recipe(base_name(w.method), w.dataset)


class Row:
    """Wildcards of one method on one dataset."""

    def __init__(self, dataset, method):
        self.dataset, self.method = dataset, method

    def items(self):
        return vars(self).items()


@asked
def maker(w, stage):
    """Wildcards of the method that runs `stage` for this one."""
    owner = CONFIG.owner(base_name(w.method), w.dataset, stage)
    return Row(w.dataset, with_seed(owner, seed_number(w.method)))


@asked
def artefact(w, stage, name):
    """Path of a file of `stage` as the method sees it: its own, or that of the recipe it takes the stage from."""
    owner = maker(w, stage)
    if "import" in recipe_of(owner).get(stage, {}):
        require_import(w.dataset, recipe_of(owner)[stage]["import"], stage)
        return f"{import_folder(w.dataset, recipe_of(owner)[stage]['import'], stage)}/{name}"
    return f"results/{w.dataset}/{owner.method}/{stage}/{name}"


@asked
def artefact_of(w, recipe, stage, name):
    """The same for another recipe, on the same dataset and seed."""
    return artefact(Row(w.dataset, with_seed(recipe, seed_number(w.method))), stage, name)


@asked
def section(w, stage):
    """The settings a stage of this method runs with, in whichever recipe they stand."""
    return recipe_of(maker(w, stage))[stage]


@asked
def manifest(w):
    """What every stage reads: the table, and facts. They say where files lie, which reruns nothing; `images` does."""
    return {
        "manifest": ancient(f"results/{w.dataset}/manifest.csv"),
        "dataset": ancient(f"results/{w.dataset}/dataset.json"),
        "images": f"results/{w.dataset}/images.json",
    }


@asked
def ground_truth(w, *names):
    """Digests over masks, for what looks at them: all of them, or those of `names`."""
    return {name: f"results/{w.dataset}/{name}.json" for name in names or ("masks_train", "masks_val")}


@asked
def weights_input(w, backbone):
    """ImageNet weights of a trunk, unless the recipe wants a random start."""
    if recipe_of(w)["weights"] == "none":
        return {}
    return {"weights": f"resources/weights/{backbone}.safetensors"}


def settings_of(stage):
    """Params function: the stage's section of the recipe."""

    @asked
    def settings(w):
        section = recipe_of(w).get(stage)
        if section is None:
            raise UserError(
                f"method {w.method} has no stage {stage} in its recipe; ask for another method's file"
            )
        if "from" in section:
            raise UserError(
                f"method {w.method} takes its {stage} from recipe {section['from']}; ask for that recipe's file instead"
            )
        if "import" in section:
            raise UserError(
                f"method {w.method} imports its {stage} ({section['import']}); ask for a later stage instead"
            )
        return section

    return settings


@asked
def recipe_facts(w):
    recipe = recipe_of(w)
    facts = {k: recipe[k] for k in ("net", "backbone", "weights")}
    return {**facts, "method": w.method, "dataset": w.dataset}


@asked
def seed_of(w):
    return seed_number(w.method)


@asked
def net_options(w):
    return recipe_of(w)["net_options"]


@asked
def wrapper_of(w):
    """What is put around the training of the net, by name and options; nothing where there is none."""
    recipe = recipe_of(w)
    return {"name": recipe["wrap"], "options": recipe.get("wrap_options", {})} if "wrap" in recipe else {}


@asked
def compute(w):
    """What shapes the arithmetic of a stage with a network; the number of GPUs does for trainings only."""
    return {k: v for k, v in config["compute"].items() if k != "gpus"}


def training_gpus(w):
    return config["compute"].get("gpus", 1)


def training_compute(w):
    """`compute` with the number of GPUs, where it is not one: a training's files say what they were made with."""
    gpus = training_gpus(w)
    return {**compute(w), "gpus": gpus} if gpus > 1 else compute(w)


def torch_env(stage):
    """Environment of a stage that may use a GPU, with the build of PyTorch that `runtime.conda` names."""
    return f"../envs/{stage}{'.cpu' if config['runtime']['conda'] == 'cpu' else ''}.yaml"


def shard_count():
    return config["runtime"]["shards"]


def per_shard(path):
    """An index, log or benchmark of a per-image stage: as it stands, or one for each of its jobs."""
    if shard_count() == 1:
        return path
    stem, end = os.path.splitext(path)
    parent, name = os.path.split(stem)
    folder = os.path.join(parent, "shards") if name == "index" else stem
    return f"{folder}/{{shard}}of{{shards}}{end}"


def shards_of(folder):
    """What the jobs of a split stage declare, of which `merge` makes folder/index.json."""
    return [str(path) for path in index_paths(folder, shard_count())]


def code_of(stage, with_net=False):
    """Params function: digest over the code the stage uses, those included that the recipe names."""

    @asked
    def code(w):
        modules = [f"wsss.stages.{stage}"]
        if with_net:
            modules.append(methods.module_path(recipe_of(w)["net"]))
        if stage == "classifier" and "wrap" in recipe_of(w):
            modules.append(wrappers.module_path(recipe_of(w)["wrap"]))
        if stage in ("segmentation", "predictions", "predict"):
            modules.append(segmenters.module_path(segmentation_net(w)))
        parts = {"affinity": walks.LEARNERS, "pseudo_masks": walks.WALKERS}.get(stage, {})
        if recipe_of(w)["refine"] in parts:
            modules.append(parts[recipe_of(w)["refine"]])
        return code_version(*modules)

    return code


@plainly
@functools.cache  # asked for every method, and answered from the dataset's CSV
def has_ground_truth(dataset, split="train"):
    """Whether a split of a dataset has masks to score with, as far as can be known before it is built."""
    return has_masks(CONFIG.dataset(dataset), split)


def configured_methods():
    return [with_seed(m, s) for s in config["seeds"] for m in config["methods"]]


@plainly
def final_targets():
    targets = []
    for dataset in config["datasets"]:
        for method in config["methods"]:
            CONFIG.recipe(method, dataset)  # a wrong recipe ends here, before anything runs
            if learns_from_saliency(Row(dataset, method)):
                made_saliency(dataset)  # neither maps nor a way to make them: ends here too
        if has_ground_truth(dataset):
            targets += [f"results/{dataset}/{m}/miou.txt" for m in configured_methods()]
        else:
            targets += [f"results/{dataset}/{m}/predictions/index.json" for m in configured_methods()]
        targets.append(f"results/{dataset}/report/index.html")
    return targets


def check_executor():
    """Stop before a cluster runs one GPU job at a time, as the default profile has it, or a shell reads what is not for it."""
    limit = workflow.resource_settings.resources.get("gpu")
    if limit is not None and not workflow.local_exec and "--workflow-profile" not in " ".join(sys.argv):
        raise WorkflowError(
            "the default profile lets one GPU job run at a time, on a cluster too; "
            "start it with: snakemake --workflow-profile profiles/slurm"
        )
    if not workflow.local_exec:
        check = plainly(refuse_shell_words)
        check(workflow.config_settings.config_args or (), "--config")
        check((workflow.main_snakefile, workflow.workdir_init, *workflow.overwrite_configfiles), "the path")


def check_manifests():
    """Stop before a stage reads the photos of another folder than the config names, or a table that was edited."""
    jobs = list(workflow.dag.needrun_jobs())
    wanted = {job.wildcards.dataset for job in jobs if hasattr(job.wildcards, "dataset")}
    made = {job.wildcards.dataset for job in jobs if job.rule.name == "dataset"}
    for name in sorted(wanted - made):
        plainly(require_manifest)(CONFIG.dataset(name), name)


def end_orphans():
    """SLURM jobs that a killed Snakemake left, and that make what this run will make, save and end.

    They are nobody else's: while a Snakemake lives, its lock keeps others from the same files.
    """
    wanted = {
        name
        for job in workflow.dag.needrun_jobs()
        for name in encode_target_jobs_cli_args(job.get_target_spec())
    }
    ended = plainly(end_jobs)(wanted, workflow.workdir_init)
    if ended:
        logger.warning(f"ended {len(ended)} SLURM jobs of a Snakemake that was killed: {', '.join(ended)}")
