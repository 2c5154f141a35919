"""One module per stage, named as its rule, script, env, config section and results folder.

Each has `run(task)`, which `wsss.engine.entry` calls: read the task's inputs, call the library's parts, write its outputs atomically.
"""
