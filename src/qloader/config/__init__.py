"""`qloader.yaml`: the models, the loader that names the line of each mistake, the starter file.
"""
