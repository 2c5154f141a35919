"""The one model of all config files: a class a section, with types, ranges, defaults and what each key means.

From it come the checks (`wsss.recipes.schema` checks a file against the JSON schema that `json_schema` makes of a class),
docs/config.md, the schemas for editors (`python -m wsss schema`), and the typed settings that a stage reads
(`section.typed`). What goes together, over several sections, stands in `wsss.recipes.checks`.

The classes are pydantic's, not msgspec's. Snakemake itself needs pydantic and has imported it before it reads our rules, so
planning pays nothing for it and still needs Snakemake alone (docs/environments.md); msgspec would be one package more
for all who plan. pydantic takes 0.1 s to import and msgspec 0.08 s on a busy core, where a job's PyTorch takes seconds;
validators are built when a stage first reads a section (`defer_build`).

Files are checked against the JSON schema of the classes and not by pydantic: a layer of a recipe is a part of one, in
which anything may be missing, and our messages name all faults, one line each, with file, key and what is allowed.

The modules: `section` (base), `training` and `background` (what sections share), one for each section of a recipe,
`recipe` (all of them), `main`, `dataset` and `preset` (the other files). Options of nets are in `wsss.methods.options`,
of segmentation networks in `wsss.sections.segmenter_options`, of wrappers in `wsss.wrappers`. A stage imports its own section
only, so that a change of one section reruns one stage; words given to `about` count in no digest.
"""
