"""Where a log is kept. Each store commits entries, payloads, keys, frontier and checkpoint at once."""
