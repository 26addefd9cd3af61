"""What a run costs: seconds by stage, counts, levels such as memory, and where they are told. May import no other room.

Nothing here decides anything about documents, and nothing here may end a run: what cannot be measured or told is left
out. `recorder.py` is imported by everything, so it imports nothing.
"""
