"""Data sets as a problem reads them: examples in rows, or whole batches; in memory, mapped from files, or read anew."""
