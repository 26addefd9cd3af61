"""From Atlassian's text formats to Markdown: Confluence storage format, Atlassian Document Format, Jira wiki markup.

Pure functions: no network, no file, no clock. What a text points at (pages, users, attachments, issues) is asked of
the caller's resolvers. Equal input and equal answers give equal bytes, and no input raises.
"""
