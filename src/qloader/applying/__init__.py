"""Doing what a plan says: stages that hand batches on, intents, recovery.

The only room that writes to the index, and it never does so without an intent in the state.
"""
