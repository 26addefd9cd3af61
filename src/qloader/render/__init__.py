"""A plan and its results as people and programs read them: text, Markdown, JSON, progress.

Takes values, writes to a console; decides nothing.
"""
