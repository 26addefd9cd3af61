"""What will be done: the diff of manifests and state, the plan, its file, its guards.

Pure: manifests and state in, a plan out. No network, no clock, no writes but the plan file itself.
"""
