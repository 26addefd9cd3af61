"""What Qdrant holds according to us: `state.db`, its migrations, its lock.

Precious: small, migrated, backed up. Knows SQLite and nothing of sources, plans or Qdrant.
"""
