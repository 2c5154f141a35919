"""The plan: what each stage reads, makes and is given. Written once, without Snakemake, torch or NumPy.

Begin with `stages`, the table. `plan` answers from it for one project; `chain` follows it backwards; `paths` says where
files lie; `code_digest` which code a result depends on; `show` puts all of it into words (`python -m wsss show`).
"""
