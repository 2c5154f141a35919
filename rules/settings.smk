# Config files as they stand, before Snakemake reads them: it takes the last of two equal keys, 010 for 8, and ends in a
# traceback where a file is no UTF-8 or holds itself.

from wsss.schema import read_yaml

for path in (f"{workflow.basedir}/config/config.yaml", *workflow.overwrite_configfiles):
    plainly(read_yaml)(path)
