"""What several tests share: sources in memory, and small corpora on disk."""
