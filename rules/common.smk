# Before anything else: the library can be imported, mistakes end in one line, and config files can be read.

import os
import sys

HOME = os.path.dirname(str(workflow.current_basedir))  # also where this workflow is a module of another one
sys.path.insert(0, f"{HOME}/workflow/scripts")

from wsss.console.run import Lines, go_on_after_kills
from wsss.workflow import Rules, check_config_files, tell_mistakes_plainly
from wsss import methods, wrappers
from wsss.plan.chain import behind, imports_behind, refuse_circle
from wsss.cluster import end_jobs, refuse_shell_words
from wsss.plan.code_digest import code_version
from wsss.recipes.config import STAGES, Config
from wsss.data.photos import find_photos, photo_source, require_apart
from wsss.errors import UserError
from wsss.found import CUT_AFTER, FOUND, MAP, NO_CUT, is_found, seed_rule
from wsss.plan.ground_truth import has_masks
from wsss.plan.imported_stages import described, import_folder, refuse_imported_seeds, require_import, require_settings
from wsss.recipes.refinement import NETWORK, WALKS, require_probabilities, require_same_walk
from wsss.saliency.command import named_files
from wsss.stages import walks
from wsss.io.header import read_facts
from wsss.io.shards import index_paths
from wsss.nets import segmenters
from wsss.nets.catalog import require_source
from wsss.report.template_version import template_version
from wsss.rownames import base_name, seed_number, with_seed
from wsss.data.user_files import check_coco, coco_annotations, folder_stamp, saliency_maker
from wsss.plan.watched import dataset_files, require_manifest, stamp

# For stages whose Snakemake dies before they have begun.
os.environ.update(WSSS_SNAKEMAKE_PID=str(os.getpid()))
tell_mistakes_plainly()
go_on_after_kills(workflow)
lines = Lines(workflow)
check_config_files([f"{HOME}/config/config.yaml", *workflow.overwrite_configfiles])
