# Before anything else: the library can be imported, mistakes end in one line, and config files can be read.

import os
import sys

HOME = os.path.dirname(str(workflow.current_basedir))  # also where this workflow is a module of another one
sys.path.insert(0, f"{HOME}/workflow/scripts")

from wsss.console.run import Lines, go_on_after_kills
from wsss.engine.signals import MASTER
from wsss.dag.failures import forget_failures
from wsss.dag.mistakes import check_config_files, tell_mistakes_plainly
from wsss.dag.near_names import name_near_targets
from wsss.dag.rules import FromPlan
from wsss.dag.start import check_home, check_working_directory
from wsss.rownames import ROW, ROW_OR_NET

# For stages whose Snakemake dies before they have begun.
os.environ[MASTER] = str(os.getpid())
tell_mistakes_plainly()
forget_failures()
check_home(HOME)
check_working_directory()
go_on_after_kills(workflow)
lines = Lines(workflow)
check_config_files([f"{HOME}/config/config.yaml", *workflow.overwrite_configfiles])
