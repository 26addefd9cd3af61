"""`qloader.yaml`: the models, the loader that names the line of each mistake, the starter file.

Reads the config and nothing that it names; the one exception is the name in a state file, which tells whose it is.
"""
