"""From a document's text to chunks: pieces that keep their bounds when the text around them is edited.

Pure functions: the same text and settings give the same chunks, on every machine.
"""
